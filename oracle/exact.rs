//! The mean of losses.

/// The exact sum, rounded once: partial sums that do not overlap (Shewchuk 1997).
pub fn exact_sum(values: &[f64]) -> f64 {
    if !values.iter().all(|value| value.is_finite()) {
        return values.iter().sum();
    }
    let mut partials: Vec<f64> = Vec::new();
    for &value in values {
        let (mut carry, mut kept) = (value, 0);
        for index in 0..partials.len() {
            let (sum, error) = two_sum(carry, partials[index]);
            if error != 0.0 {
                partials[kept] = error;
                kept += 1;
            }
            carry = sum;
        }
        partials.truncate(kept);
        partials.push(carry);
    }
    // From the largest down, until something is lost; where that is a half, what follows decides.
    let mut sum = partials.pop().unwrap_or(0.0);
    while let Some(partial) = partials.pop() {
        let (larger, error) = two_sum(sum, partial);
        sum = larger;
        if error != 0.0 {
            let twice = 2.0 * error;
            let is_half = (sum + twice) - sum == twice;
            let follows = partials.last().is_some_and(|&next| (next < 0.0) == (error < 0.0));
            return if is_half && follows { sum + twice } else { sum };
        }
    }
    sum
}

/// a + b, and what its rounding lost (Knuth).
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let of_b = sum - a;
    (sum, (a - (sum - of_b)) + (b - of_b))
}
