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

/**
 * Return the metrics by name.
 *
 * @param labels the class of each image, from 0.
 * @param rows the scores of each image, a Float32Array for each.
 * @param ranked the scores by which average precision ranks images: `rows`, or logits.
 */
function computeMetrics(labels, rows, ranked) {
  const classes = Array.from(rows[0].keys());
  const [right, images, predicted] = [classes.map(() => 0), classes.map(() => 0), classes.map(() => 0)];
  rows.forEach((row, image) => {
    const best = largest(row);
    images[labels[image]] += 1;
    predicted[best] += 1;
    if (best === labels[image]) right[best] += 1;
  });
  const sum = counts => counts.reduce((total, count) => total + count, 0);
  const class_accuracy = classes.map(label => right[label] / images[label]);
  const average_precision = classes.map(label =>
    averagePrecision(
      labels.map(each => Number(each === label)),
      ranked.map(row => row[label]),
    ),
  );
  return {
    class_accuracy,
    average_precision,
    mean_class_accuracy: mean(class_accuracy),
    mean_average_precision: mean(average_precision),
    macro_f1: mean(classes.map(label => (2 * right[label]) / (images[label] + predicted[label]))),
    accuracy: sum(right) / sum(images),
  };
}

const RANKING = ["average_precision", "mean_average_precision"];
// Older runs lack the last two.
const SCALARS = ["mean_class_accuracy", "mean_average_precision", "macro_f1", "accuracy"];
