// Words in three languages. Chinese is the default and stands in for what another one lacks.

import { TEXTS as bo } from "./texts/bo.js";
import { TEXTS as en } from "./texts/en.js";
import { TEXTS as zh } from "./texts/zh.js";

export const LANGUAGES = { zh: "中文", bo: "བོད་ཡིག", en: "English" };
const ALL = { zh, bo, en };

let language = "zh";

/** Choose the page's language. */
export function use(chosen) {
  language = chosen in LANGUAGES ? chosen : "zh";
  document.documentElement.lang = language;
  document.title = t("title");
}

export function current() {
  return language;
}

/** The first of the browser's languages that we have. */
export function preferred() {
  const wanted = navigator.languages.map((one) => one.slice(0, 2));
  return wanted.find((one) => one in LANGUAGES) ?? "zh";
}

/** The text of this name, with `{word}` replaced by facts. */
export function t(name, facts = {}, within = language) {
  const text = ALL[within][name] ?? zh[name];
  if (text === undefined) throw new Error(`no text is called ${name}`);
  return text.replace(/\{(\w+)\}/g, (whole, word) => facts[word] ?? whole);
}

/** Whether there is such a text: for reasons that the centre names. */
export function has(name) {
  return name in zh;
}

/** A thing's name in the page's language, or in one that it has: {zh: …, en: …}. */
export function nameOf(names, within = language) {
  return names?.[within] ?? names?.zh ?? names?.en ?? Object.values(names ?? {})[0] ?? "";
}

/** The language that `nameOf` answers in, for the `lang` attribute. */
export function languageOf(names, within = language) {
  return [within, "zh", "en"].find((one) => names?.[one]) ?? within;
}

/** A grade in words: "grade 1"; one that is a measure of its own ("2000/500g") as it is. */
export function gradeOf(grade, within = language) {
  return /^\d{1,2}$|^[A-Z]$/.test(grade) ? t("grade", { grade }, within) : grade;
}
