// Money is whole fen, weight whole grams; nothing here is ever a fraction.

/** What a quantity costs, in fen: multiplied first, divided once, half a fen rounded up. */
export function lineTotal(quantity, priceFen, priceUnit) {
  // Through BigInt: 2 × grams × fen may leave the whole numbers that a Number holds exactly.
  const [q, price, unit] = [BigInt(quantity), BigInt(priceFen), BigInt(priceUnit)];
  return Number((2n * q * price + unit) / (2n * unit));
}

/**
 * What is given back for `quantity` of a line when `before` of it came back already, in fen.
 *
 * Shares are cut from the line's stored total, so that together they are exactly the total.
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

/** What a clerk typed as yuan, in fen; null where it is no amount. */
export function parseYuan(text) {
  return scaled(text, 2);
}

/** What a clerk typed as grams, kg or jin (half a kilogram), in grams; null where it is none. */
export function parseWeight(text, unit) {
  if (unit === "g") return /^\d{1,9}$/.test(text.trim()) ? Number(text.trim()) : null;
  const grams = scaled(text, 3);
  if (grams === null) return null;
  if (unit === "kg") return grams;
  // A jin is 500 g: an odd number of thousandths is no whole gram.
  return grams % 2 === 0 ? grams / 2 : null;
}

function scaled(text, digits) {
  const match = /^(\d{1,9})(?:\.(\d*))?$/.exec(text.trim().replace("。", ".").replace(",", "."));
  if (match === null) return null;
  const fraction = (match[2] ?? "").replace(/0+$/, "");
  if (fraction.length > digits) return null;
  return Number(match[1] + fraction.padEnd(digits, "0"));
}

/** Thousandths without the zeros that say nothing: 1250 → "1.25". */
export function thousandths(value) {
  const fraction = String(value % 1000).padStart(3, "0").replace(/0+$/, "");
  return `${Math.floor(value / 1000)}${fraction && `.${fraction}`}`;
}
