"""FiftyOne App: the collection as a dataset, operators and a panel for verdicts, and what serves them."""
