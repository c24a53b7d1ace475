"""What a verification found: similarities by scheme and key, and the verdict."""

from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from torch import Tensor


@dataclass(frozen=True, eq=False)
class SchemeResult:
    """One scheme's view of one response.

    Attributes:
        scheme: "DCmp", "Trans" (with G_min, the paper's choice), "Trans G_max" or "Trans G_ini".
        similarity: float64 (N,), one a key; cosine or SSIM.
        tau: the tolerance used.
    """

    scheme: str
    similarity: Tensor
    tau: float

    @property
    def agreement(self) -> float:
        """Eq. 4, in per cent: the mean similarity. "only used to reflect the overall similarity"."""
        return 100 * self.similarity.mean().item()

    @property
    def auth_success(self) -> float:
        """Eq. 5, in per cent: the share of keys whose similarity exceeds tau."""
        return 100 * (self.similarity > self.tau).double().mean().item()

    @property
    def passed(self) -> bool:
        """The verdict: "When the authentication success rate reaches 100%, the verification is ... successful"."""
        return bool((self.similarity > self.tau).all())


@dataclass(frozen=True, eq=False)
class Report:
    """What the trusted party returns: every scheme's result and the hash baseline.

    Attributes:
        results: DCmp first, then one a generator.
        weights_equal: whether the suspect's weights have the enrolled SHA-256; None if
            its weights were not shown (black box).
    """

    results: list[SchemeResult]
    weights_equal: bool | None = None
    _by_name: dict[str, SchemeResult] = field(init=False, repr=False)

    def __post_init__(self):
        object.__setattr__(self, "_by_name", {result.scheme: result for result in self.results})

    def __getitem__(self, scheme: str) -> SchemeResult:
        """A scheme's result by its name; SHA-256 is none of them (`weights_equal`).

        Raises:
            KeyError: the record has no such scheme; it names those that it has.
        """
        if scheme not in self._by_name:
            raise KeyError(f"{scheme!r} is none of this report's schemes: {', '.join(self._by_name)}")
        return self._by_name[scheme]

    @property
    def passed(self) -> bool:
        """True only if every scheme passes at 100 %."""
        return all(result.passed for result in self.results)

    def rows(self) -> list[dict[str, Any]]:
        """Tidy rows {scheme, key, similarity}, one a scheme and key.

        The hash row has key -1 and similarity 1 (equal) or 0.
        """
        rows = [
            {"scheme": result.scheme, "key": key, "similarity": value}
            for result in self.results
            for key, value in enumerate(result.similarity.tolist())
        ]
        if self.weights_equal is not None:
            rows.append({"scheme": "SHA-256", "key": -1, "similarity": float(self.weights_equal)})
        return rows

    def table(self) -> pd.DataFrame:
        """One line a scheme: agreement, worst key, authentication success rate, verdict."""
        lines = [
            {
                "scheme": result.scheme,
                "tau": f"{100 * result.tau:g} %",
                "agreement %": f"{result.agreement:.3f}",
                "worst key %": f"{100 * result.similarity.min().item():.3f}",
                "auth. success %": f"{result.auth_success:g}",
                "verdict": "pass" if result.passed else "FAIL",
            }
            for result in self.results
        ]
        if self.weights_equal is not None:
            lines.append({"scheme": "SHA-256", "verdict": "pass" if self.weights_equal else "FAIL"})
        return pd.DataFrame(lines).fillna("").set_index("scheme")

    def __str__(self) -> str:
        table = self.table()
        return table.to_string(col_space={name: len(name) + 2 for name in table})  # headings have blanks of their own


def scheme_name(objective: str) -> str:
    """The scheme of a generator objective; the paper's Trans is G_min's ("finally chose", A.1)."""
    return "Trans" if objective == "min" else f"Trans G_{objective}"
