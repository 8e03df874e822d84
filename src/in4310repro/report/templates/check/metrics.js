// The metrics of a run, computed from labels and scores with the roundings of the package.

/** Return the exact sum of numbers, rounded once (Shewchuk 1997), as Python's math.fsum does. */
function exactSum(values) {
  const partials = [];
  for (let value of values) {
    let kept = 0;
    for (let other of partials) {
      if (Math.abs(value) < Math.abs(other)) [value, other] = [other, value];
      const sum = value + other;
      const rest = other - (sum - value);
      if (rest) partials[kept++] = rest;
      value = sum;
    }
    partials.length = kept;
    partials.push(value);
  }
  let sum = 0;
  let rest = 0;
  while (partials.length && !rest) {
    const [before, next] = [sum, partials.pop()];
    sum = before + next;
    rest = next - (sum - before);
  }
  // A rest of half a unit is rounded to even above; what lies below it decides.
  if (partials.length && rest && Math.sign(rest) === Math.sign(partials.at(-1))) {
    const doubled = rest * 2;
    if (sum + doubled - sum === doubled) sum += doubled;
  }
  return sum;
}

const mean = values => exactSum(values) / values.length;

/** Return the place of the largest value; of equal ones the first. */
function largest(values) {
  let best = 0;
  for (let place = 1; place < values.length; place += 1) if (values[place] > values[best]) best = place;
  return best;
}

/** Return the average precision of one class: the sum over distinct scores of added recall x precision. */
function averagePrecision(relevant, scores) {
  const order = Array.from(scores.keys()).sort((one, other) => scores[other] - scores[one]);
  const terms = [];
  let [right, before] = [0, 0];
  order.forEach((image, place) => {
    right += relevant[image];
    // Images of equal scores share one threshold.
    if (place + 1 === order.length || scores[order[place + 1]] !== scores[image]) {
      terms.push((right - before) * (right / (place + 1)));
      before = right;
    }
  });
  return exactSum(terms) / right;
}

const total = counts => counts.reduce((sum, count) => sum + count, 0);

// By the name of the package's function. A metric of another function is not computed here.
const FUNCTIONS = {
  recall: ({ right, images }) => right.map((each, label) => each / images[label]),
  average_precisions: ({ labels, scores }) =>
    Array.from(scores[0].keys(), label =>
      averagePrecision(
        labels.map(each => Number(each === label)),
        scores.map(row => row[label]),
      ),
    ),
  mean,
  macro_f1: ({ right, images, predicted }) =>
    mean(right.map((each, label) => (2 * each) / (images[label] + predicted[label]))),
  accuracy: ({ right, images }) => total(right) / total(images),
};

/**
 * Return the metrics by name.
 *
 * @param labels the class of each image, from 0.
 * @param rows the scores of each image, a Float32Array for each.
 * @param ranked the scores by which average precision ranks images: `rows`, or logits.
 */
function computeMetrics(labels, rows, ranked) {
  const [right, images, predicted] = [0, 1, 2].map(() => Array.from(rows[0], () => 0));
  rows.forEach((row, image) => {
    const best = largest(row);
    images[labels[image]] += 1;
    predicted[best] += 1;
    if (best === labels[image]) right[best] += 1;
  });
  const known = { counts: { right, images, predicted }, ranking: { labels, scores: ranked } };
  const computed = {};
  for (const { name, measure, reads } of FACTS.metrics) {
    const argument = known[reads] ?? computed[reads];
    if (argument && Object.hasOwn(FUNCTIONS, measure)) computed[name] = FUNCTIONS[measure](argument);
  }
  return computed;
}

const RANKING = FACTS.metrics.filter(each => each.ranks).map(each => each.name);
