// The look of a product's tile: a colour by category and the first character of its name. Unlike
// pictures, these need no download.

const COLOURS = {
  fungi: "brown",
  medicinal: "green",
  "fruit and nuts": "amber",
  pantry: "violet",
  meat: "red",
};

/** The colour class of a category; unknown categories share colours by their first letter. */
export function colourOf(category) {
  const others = Object.values(COLOURS);
  const known = COLOURS[category];
  return `till-${known ?? others[(category ?? "?").charCodeAt(0) % others.length]}`;
}

/** One character for a product: the same in every language, so that clerks learn it. */
export function signOf(variant) {
  return [...(variant.names.zh ?? variant.names.en ?? variant.product_code)][0];
}
