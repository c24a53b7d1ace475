"""How cuts stand in summary.csv. Standard library only: the end of a run reads them without loading anything."""

#: between the cuts of one claim
BREAK = "; "
#: how the only cut of a claim begins whose encoder or classifier the profile leaves out
WITHOUT = "without "


def parted(text: str) -> list[str]:
    """The cuts of one claim, each in words."""
    return text.split(BREAK) if text else []
