//! Accuracy and average precision of each class.

use crate::stream::{Outcome, Request, Tensor};

/// The first of the largest scores; NaN counts as the largest.
fn first_largest(scores: &[f32]) -> usize {
    let is_larger = |k: usize, best: usize| scores[k] > scores[best] || scores[k].is_nan() && !scores[best].is_nan();
    (1..scores.len()).fold(0, |best, k| if is_larger(k, best) { k } else { best })
}

pub fn class_accuracy(request: &Request) -> Outcome<Vec<Tensor>> {
    let shape: [usize; 2] = request.shape(0)?;
    let classes = request.number("classes")?;
    let labels = request.labels(1, shape[0], classes)?;
    let (mut images, mut right) = (vec![0.0; classes], vec![0.0; classes]);
    for (scores, &label) in request.f32(0, &shape)?.chunks_exact(shape[1]).zip(&labels) {
        images[label] += 1.0;
        right[label] += if first_largest(scores) == label { 1.0 } else { 0.0 };
    }
    let shares: Vec<f64> = right.iter().zip(&images).map(|(right, images)| right / images).collect();
    Ok(vec![Tensor::f64("accuracy", &[classes], &shares)])
}

/// The sum over distinct thresholds, from the highest down, of (step of recall) x precision.
fn precision_of_class(mut scored: Vec<(f32, bool)>) -> f64 {
    let positives = scored.iter().filter(|&&(_, is_positive)| is_positive).count() as f64;
    if positives == 0.0 || scored.iter().any(|(score, _)| score.is_nan()) {
        return f64::NAN;
    }
    scored.sort_by(|left, right| right.0.partial_cmp(&left.0).unwrap());
    let (mut sum, mut found, mut recall) = (0.0, 0.0, 0.0);
    for (index, &(score, is_positive)) in scored.iter().enumerate() {
        found += if is_positive { 1.0 } else { 0.0 };
        let is_last_of_ties = scored.get(index + 1).map_or(true, |next| next.0 != score);
        if is_last_of_ties {
            sum += (found / positives - recall) * (found / (index + 1) as f64);
            recall = found / positives;
        }
    }
    sum
}

pub fn average_precision(request: &Request) -> Outcome<Vec<Tensor>> {
    let [images, classes] = request.shape(0)?;
    let scores = request.f32(0, &[images, classes])?;
    let labels = request.labels(1, images, classes)?;
    let scored = |class: usize, image: usize| (scores[image * classes + class], labels[image] == class);
    let of_class = |class| precision_of_class((0..images).map(|image| scored(class, image)).collect());
    let precisions: Vec<f64> = (0..classes).map(of_class).collect();
    Ok(vec![Tensor::f64("precision", &[classes], &precisions)])
}
