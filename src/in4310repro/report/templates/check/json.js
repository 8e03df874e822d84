// JSON as runs write it: read without losing doubled keys and notations, and held to the schema of its file.

/** Return JSON text as nodes, {items} or {entries: [key, node] pairs} or {text} as written, each with its `value`. */
function readNodes(text) {
  JSON.parse(text);
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[^\s"[\]{},:]+|[[\]{},:]/g);
  let at = 0;
  const until = (end, read) => {
    const found = [];
    for (; tokens[at] !== end; at += tokens[at] === ",") found.push(read());
    at += 1;
    return found;
  };
  const node = () => {
    const token = tokens[at++];
    if (token === "[") {
      const items = until("]", node);
      return { items, value: items.map(each => each.value) };
    }
    if (token === "{") {
      const entries = until("}", () => [JSON.parse(tokens[(at += 2) - 2]), node()]);
      return { entries, value: Object.fromEntries(entries.map(([key, inner]) => [key, inner.value])) };
    }
    const value = JSON.parse(token);
    // Seeds have up to 63 bits.
    const isLarge = /^-?\d+$/.test(token) && !Number.isSafeInteger(value);
    return { text: token, value: isLarge ? BigInt(token) : value };
  };
  return node();
}

/** Return a text as Python writes it in JSON, which escapes what is not ASCII. */
const quoted = text =>
  JSON.stringify(text).replace(
    /[\u007f-\uffff]/g,
    letter => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );

/** Return a number as Python writes it: floats by the fewest digits that read back equal, with a point or exponent. */
function numeral(text) {
  if (/^-?\d+$/.test(text)) return `${BigInt(text)}`;
  const value = Number(text);
  const [digits, power] = value.toExponential().split("e");
  if (power >= 16 || power < -4) return `${digits}e${power[0]}${power.slice(1).padStart(2, "0")}`;
  const plain = Object.is(value, -0) ? "-0" : `${value}`;
  return plain.includes(".") ? plain : `${plain}.0`;
}

/** Return a node as a run writes it, by Python's json.dumps with an indent of 1. */
function written({ items, entries, text, value }, end = "\n") {
  const list = items?.map(each => written(each, `${end} `));
  const parts = list ?? entries?.map(([key, inner]) => `${quoted(key)}: ${written(inner, `${end} `)}`);
  if (!parts) return typeof value === "string" ? quoted(value) : /\d/.test(text) ? numeral(text) : text;
  const inside = parts.length ? `${end} ${parts.join(`,${end} `)}${end}` : "";
  return items ? `[${inside}]` : `{${inside}}`;
}

const PRINTABLE = /^(?:[^\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Z}]| )*$/u;
const FORMATS = {
  text: text => PRINTABLE.test(text),
  path: text =>
    PRINTABLE.test(text) && !/\\|^[^/]:/.test(text) && !text.split("/").some(part => ["", ".", ".."].includes(part)),
};
const TYPES = {
  object: node => node.entries,
  array: node => node.items,
  string: ({ value }) => typeof value === "string",
  boolean: ({ value }) => typeof value === "boolean",
  null: ({ value }) => value === null,
  integer: ({ text }) => /^-?\d+$/.test(text),
  number: ({ text, value }) => /^-?\d.*[.eE]/.test(text) && Number.isFinite(value),
};
// The rules of JSON Schema that the schemas of a run use: whether a value keeps to it, and what it asks for.
const RULES = {
  minimum: [(value, limit) => value >= limit, "at least"],
  maximum: [(value, limit) => value <= limit, "at most"],
  exclusiveMinimum: [(value, limit) => value > limit, "above"],
  exclusiveMaximum: [(value, limit) => value < limit, "below"],
  minItems: [(value, limit) => value.length >= limit, "of a length of at least"],
  maxItems: [(value, limit) => value.length <= limit, "of a length of at most"],
  maxLength: [(value, limit) => [...value].length <= limit, "of a length of at most"],
  pattern: [(value, pattern) => new RegExp(pattern, "u").test(value), "of the form"],
  format: [(value, name) => FORMATS[name](value), "a valid"],
  const: [(value, only) => value === only, "equal to"],
  enum: [(value, list) => list.includes(value), "one of"],
};

/**
 * Yield {fault}, a sentence, wherever a node breaks its schema, and {path, shape} of each of its values that holds no
 * others; a shape is a path with * for places in lists and for keys that are data.
 */
function* examine(node, schema, definitions, path = [], shape = []) {
  const inner = (each, own, key, part) => examine(each, own, definitions, [...path, `${key}`], [...shape, part]);
  const place = path.join(".") || "its value";
  if (schema.$ref) {
    yield* examine(node, definitions[schema.$ref.replace("#/$defs/", "")], definitions, path, shape);
  } else if (schema.anyOf) {
    const each = schema.anyOf.map(one => [...examine(node, one, definitions, path, shape)]);
    yield* each.find(found => !found.some(one => one.fault)) ?? each[0];
  } else if (schema.type && !TYPES[schema.type](node)) {
    const number = schema.type === "number" ? " with a point or an exponent" : "";
    yield { fault: `${place} is ${node.text ?? describe(node.value)}; a run writes the type ${schema.type}${number}` };
  } else {
    for (const [name, [keeps, words]] of Object.entries(RULES)) {
      if (name in schema && !keeps(node.value, schema[name]))
        yield {
          fault: `${place} is ${describe(node.value)}; it should be ${words} ${[schema[name]].flat().join(", ")}`,
        };
    }
    const children = node.items ?? node.entries ?? [];
    if (!children.length) yield { path, shape };
    for (const [number, child] of (node.items ?? []).entries()) yield* inner(child, schema.items, number, "*");
    const seen = new Set();
    for (const [key, child] of node.entries ?? []) {
      if (seen.has(key)) yield { fault: `${place} has ${key} twice` };
      seen.add(key);
      if (schema.propertyNames)
        yield* [...inner({ value: key }, schema.propertyNames, key, "*")].filter(one => one.fault);
      const isNamed = schema.properties && Object.hasOwn(schema.properties, key);
      const own = isNamed ? schema.properties[key] : schema.additionalProperties;
      if (own) yield* inner(child, own, key, isNamed ? key : "*");
      else yield { fault: `${place} has ${key}, which does not belong there` };
    }
    for (const key of schema.required ?? []) if (!seen.has(key)) yield { fault: `${place} lacks ${key}` };
  }
}
