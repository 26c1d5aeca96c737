"""Monte Carlo on results: session P&L, trades, positions and neighbouring variants."""
