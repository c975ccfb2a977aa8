"""The ledger: what was recorded, when, by whom and of which moment; rows are only ever added."""

FILE_NAME = "healthseg.sqlite"
