// Money is in whole fen and weight in whole grams; there are no fractions.

/** The price of a quantity, in fen: one multiplication, one division, half a fen rounded up. */
export function lineTotal(quantity, priceFen, priceUnit) {
  // BigInt, because 2 × grams × fen may exceed the integers that a Number holds exactly.
  const [q, price, unit] = [BigInt(quantity), BigInt(priceFen), BigInt(priceUnit)];
  return Number((2n * q * price + unit) / (2n * unit));
}

/**
 * The refund for `quantity` of a line of which `before` already came back, in fen.
 *
 * Refunds are shares of the line's stored total, so all of them add up to exactly this total.
 */
export function refundOf(line, before, quantity) {
  const share = (q) =>
    Number((BigInt(line.line_total_fen) * BigInt(q)) / BigInt(line.quantity));
  return share(before + quantity) - share(before);
}

/** 13600 → "¥136.00". */
export function yuan(fen) {
  const sign = fen < 0 ? "−" : "";
  const amount = Math.abs(fen);
  const whole = String(Math.floor(amount / 100)).replace(/\B(?=(\d{3})+$)/g, ",");
  return `${sign}¥${whole}.${String(amount % 100).padStart(2, "0")}`;
}

/** The yuan that a clerk typed, in fen; null if the text is no amount. */
export function parseYuan(text) {
  return scaled(text, 2);
}

/** The grams, kg or jin (half a kilogram) that a clerk typed, in grams; null if it is no weight. */
export function parseWeight(text, unit) {
  if (unit === "g") return /^\d{1,9}$/.test(text.trim()) ? Number(text.trim()) : null;
  const grams = scaled(text, 3);
  if (grams === null) return null;
  if (unit === "kg") return grams;
  // A jin is 500 g, so an odd number of thousandths of a jin is no whole gram.
  return grams % 2 === 0 ? grams / 2 : null;
}

function scaled(text, digits) {
  const match = /^(\d{1,9})(?:\.(\d*))?$/.exec(text.trim().replace("。", ".").replace(",", "."));
  if (match === null) return null;
  const fraction = (match[2] ?? "").replace(/0+$/, "");
  if (fraction.length > digits) return null;
  return Number(match[1] + fraction.padEnd(digits, "0"));
}

/** Thousandths without trailing zeros: 1250 → "1.25". */
export function thousandths(value) {
  const fraction = String(value % 1000).padStart(3, "0").replace(/0+$/, "");
  return `${Math.floor(value / 1000)}${fraction && `.${fraction}`}`;
}
