"""The schemes: key samples, generator, record, enrolment and verification, and what an honest user may do."""
