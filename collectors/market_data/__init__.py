"""Order books, trades and funding rates: what is collected besides tickers, between the polls."""
