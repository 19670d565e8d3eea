// Amounts are whole numbers of minor units; only here they become text and come from it.

const DIGITS = { JPY: 0 };
const digits = (currency) => DIGITS[currency] ?? 2;

export function money(amount, currency) {
  const value = amount / 10 ** digits(currency);
  return new Intl.NumberFormat("en", { style: "currency", currency, minimumFractionDigits: digits(currency) }).format(value);
}

/** What a person wrote, in minor units. Throws with a sentence when it is no amount. */
export function minor(text, currency) {
  const [, whole, , part = ""] = /^\s*(\d{1,13})([.,](\d+))?\s*$/.exec(text) || [];
  if (whole === undefined || part.length > digits(currency)) {
    throw new Error(`Write an amount with at most ${digits(currency)} digits after the point.`);
  }
  return Number(whole + part.padEnd(digits(currency), "0"));
}
