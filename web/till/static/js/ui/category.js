// What a product looks like on its tile: a colour by category and the first sign of its name.
// Pictures would have to be loaded; these are always there.

const COLOURS = {
  fungi: "brown",
  medicinal: "green",
  "fruit and nuts": "amber",
  pantry: "violet",
  meat: "red",
};

/** The colour class of a category; unknown ones share by their first letter. */
export function colourOf(category) {
  const others = Object.values(COLOURS);
  const known = COLOURS[category];
  return `till-${known ?? others[(category ?? "?").charCodeAt(0) % others.length]}`;
}

/** One sign for a product: the same in every language, so that the hand learns it. */
export function signOf(variant) {
  return [...(variant.names.zh ?? variant.names.en ?? variant.product_code)][0];
}
