"""Everything on disk below the results folder."""
