// Text that people type: texts that look the same get one form. The centre has the same rule in
// `shared/runtime/text.py`; tests run both with the same table of cases.

/** White space of every kind, and letters that show nothing. */
const SPACES = /[\p{White_Space}\x1c-\x1f\u115f\u1160\u2800\u3164\uffa0]+/gu;
/** Control and format characters except joiners, halves of surrogate pairs, the grapheme joiner. */
const IDLE = /(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Cs}\u034f]/gu;
/** A joiner has an effect only within an emoji, and after a virama. */
const VIRAMA = "\u094d\u09cd\u0a4d\u0acd\u0b4d\u0bcd\u0c4d\u0ccd\u0d3b\u0d3c\u0d4d\u0dca\u0e3a\u0eba"
  + "\u0f84\u1039\u103a\u1714\u1715\u1734\u17d2\u1a60\u1b44\u1baa\u1bab\u1bf2\u1bf3\u2d7f\ua806"
  + "\ua82c\ua8c4\ua953\ua9c0\uaaf6\uabed\u{10a3f}\u{11046}\u{11070}\u{1107f}\u{110b9}\u{11133}"
  + "\u{11134}\u{111c0}\u{11235}\u{112ea}\u{1134d}\u{11442}\u{114c2}\u{115bf}\u{1163f}\u{116b6}"
  + "\u{1172b}\u{11839}\u{1193d}\u{1193e}\u{119e0}\u{11a34}\u{11a47}\u{11a99}\u{11c3f}\u{11d44}"
  + "\u{11d45}\u{11d97}\u{11f41}\u{11f42}";
const JOINS = new RegExp(`^[\\p{S}\\ufe0f${VIRAMA}]$`, "u");
const JOINER = /^[\u200c\u200d]$/;
const SEEN = /[^\p{M}\p{Z}\u200c\u200d]/u;

/** The text in NFC, with single plain spaces inside and none outside; "" if nothing is visible. */
export function normalised(text) {
  let tidy = tidied(text.replace(SPACES, " ").replace(IDLE, ""));
  for (let again = tidied(tidy); again !== tidy; again = tidied(tidy)) tidy = again;
  return SEEN.test(tidy) ? tidy : "";
}

function tidied(text) {
  return withoutIdleJoiners(text.normalize("NFC")).normalize("NFC")
    .replace(/ +/g, " ").replace(/^ | $/g, "");
}

function withoutIdleJoiners(text) {
  const letters = [...text];
  const kept = [];
  letters.forEach((letter, place) => {
    const following = letters[place + 1] ?? " ";
    const idle = JOINER.test(letter)
      && (!JOINS.test(kept.at(-1) ?? " ") || following === " " || JOINER.test(following));
    if (!idle) kept.push(letter);
  });
  return kept.join("");
}
