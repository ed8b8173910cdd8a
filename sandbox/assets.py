"""Assets that the simulated venues trade, and what one of each is worth in US dollars, roughly."""

from __future__ import annotations

from functools import cache
from hashlib import blake2b

COINS = {
    "BTC": 65000.0, "ETH": 3400.0, "SOL": 150.0, "XRP": 0.62, "BNB": 580.0, "DOGE": 0.14, "ADA": 0.45, "AVAX": 33.0,
    "LINK": 16.0, "DOT": 6.8, "LTC": 82.0, "BCH": 410.0, "TRX": 0.13, "XLM": 0.11, "ATOM": 8.1, "UNI": 9.2,
    "ETC": 26.0, "FIL": 5.6, "APT": 8.9, "ARB": 0.95, "OP": 2.1, "NEAR": 6.3, "INJ": 26.0, "SUI": 1.3,
    "TIA": 8.4, "SEI": 0.48, "AAVE": 96.0, "MKR": 2700.0, "CRV": 0.36, "SNX": 2.4, "COMP": 54.0, "LDO": 1.9,
    "GRT": 0.24, "ALGO": 0.17, "VET": 0.032, "ICP": 10.4, "HBAR": 0.091, "EGLD": 38.0, "THETA": 1.8, "FTM": 0.71,
    "SAND": 0.39, "MANA": 0.41, "AXS": 6.9, "GALA": 0.037, "CHZ": 0.11, "ENJ": 0.26, "IMX": 1.9, "FLOW": 0.79,
    "XTZ": 0.88, "EOS": 0.71, "NEO": 13.5, "IOTA": 0.19, "DASH": 27.0, "ZEC": 24.0, "XMR": 165.0, "KSM": 27.0,
    "ZIL": 0.021, "QTUM": 3.3, "BAT": 0.22, "ZRX": 0.42, "KNC": 0.66, "OMG": 0.49, "SUSHI": 0.98, "YFI": 6500.0,
    "BAL": 3.2, "BAND": 1.35, "OCEAN": 0.78, "ANKR": 0.038, "STORJ": 0.47, "SKL": 0.061, "LRC": 0.21, "CELO": 0.69,
    "RUNE": 5.4, "KAVA": 0.58, "ROSE": 0.088, "ONE": 0.017, "GMT": 0.19, "APE": 1.15, "GMX": 29.0, "DYDX": 1.6,
    "ENS": 22.0, "MASK": 3.1, "RSR": 0.0068, "STX": 1.9, "MINA": 0.67, "KAS": 0.15, "RNDR": 8.6, "FET": 1.5,
    "AGIX": 0.67, "WLD": 4.3, "ORDI": 39.0, "BLUR": 0.29, "PENDLE": 5.2, "JUP": 0.97, "PYTH": 0.39, "JTO": 2.7,
    "STRK": 0.92, "MANTA": 1.2, "DYM": 2.1, "ALT": 0.21, "WIF": 2.3, "BONK": 0.000024, "PEPE": 0.000011,
    "FLOKI": 0.00018, "SHIB": 0.000019, "MEME": 0.021, "TURBO": 0.0052, "NOT": 0.016, "TON": 7.2, "ENA": 0.58,
    "ETHFI": 3.4, "W": 0.39, "TNSR": 0.71, "OMNI": 13.0, "REZ": 0.11, "BB": 0.43, "IO": 3.6, "ZK": 0.17, "ZRO": 3.4,
    "LISTA": 0.58, "AR": 29.0, "AUDIO": 0.18, "BICO": 0.41, "C98": 0.23, "CKB": 0.013, "COTI": 0.11, "CVX": 2.6,
    "DENT": 0.0011, "EDU": 0.63, "FXS": 4.1, "GAS": 4.4, "GLMR": 0.26, "HIGH": 4.7, "HOOK": 0.71, "HOT": 0.0019,
    "ICX": 0.19, "ID": 0.52, "IOST": 0.0071, "IOTX": 0.048, "JASMY": 0.031, "JOE": 0.44, "KLAY": 0.17, "LPT": 18.0,
    "LQTY": 1.05, "MAGIC": 0.69, "MTL": 1.3, "NMR": 21.0, "OGN": 0.12, "ONT": 0.24, "PEOPLE": 0.088, "PERP": 0.83,
    "QNT": 83.0, "RIF": 0.11, "RVN": 0.023, "SFP": 0.77, "SSV": 37.0, "SXP": 0.28, "TRB": 88.0, "TWT": 1.05,
    "UMA": 2.7, "WAXP": 0.051, "WOO": 0.22, "XAI": 0.49, "XVS": 8.3, "YGG": 0.68, "HYPE": 25.0, "PURR": 0.21,
}  # fmt: skip
MONEY = {
    "USD": 1.0, "USDT": 1.0, "USDC": 1.0, "FDUSD": 1.0, "DAI": 1.0, "EUR": 1.08, "GBP": 1.27, "AUD": 0.66,
    "CAD": 0.73, "JPY": 0.0064, "TRY": 0.031, "BRL": 0.18, "ZAR": 0.055, "NGN": 0.00067, "KES": 0.0077,
    "MYR": 0.21, "IDR": 0.000061, "UGX": 0.00027, "CHF": 1.11,
}  # fmt: skip
MONEY_VOLATILITY = 0.1


@cache
def usd_anchor(asset: str) -> float:
    """Returns an asset's price in dollars; one that nobody planned has it from its name: between 0.01 and 100."""
    return COINS.get(asset) or MONEY.get(asset) or round(10 ** (4 * unit("anchor", asset) - 2), 6)


def volatility(asset: str) -> float:
    return MONEY_VOLATILITY if asset in MONEY else 1.0


def unit(*parts: object) -> float:
    """Returns a number in 0..1 that belongs to these words, the same on every machine."""
    digest = blake2b(":".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
