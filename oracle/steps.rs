//! Steps of the optimizers. Scalars are computed in double and rounded to float before use.

use crate::stream::{Outcome, Request, Tensor};

fn fma(a: f32, b: f32, c: f32) -> f32 {
    a.mul_add(b, c)
}

/// beta^t = 1 x beta x beta x ...
fn power(beta: f64, t: usize) -> f64 {
    (0..t).fold(1.0, |power, _| power * beta)
}

/// fma(decay, p, g) if there is decay.
fn decayed(decay: f64, p: f32, g: f32) -> f32 {
    if decay != 0.0 { fma(decay as f32, p, g) } else { g }
}

/// An input that has the parameter's shape.
fn state(request: &Request, index: usize) -> Outcome<Vec<f32>> {
    request.f32(index, request.any_shape(0)?)
}

fn answer(request: &Request, state: &[(&str, Vec<f32>)]) -> Outcome<Vec<Tensor>> {
    let shape = request.any_shape(0)?;
    Ok(state.iter().map(|(name, values)| Tensor::f32(name, shape, values)).collect())
}

pub fn adamw(request: &Request) -> Outcome<Vec<Tensor>> {
    let (mut p, g) = (state(request, 0)?, state(request, 1)?);
    let (mut m, mut v) = (state(request, 2)?, state(request, 3)?);
    let (lr, beta1, beta2) = (request.float("lr")?, request.float("beta1")?, request.float("beta2")?);
    let (epsilon, decay, t) = (request.float("epsilon")?, request.float("decay")?, request.number("step")?);
    let length = (-lr / (1.0 - power(beta1, t))) as f32;
    let correction = (1.0 / (1.0 - power(beta2, t)).sqrt()) as f32;
    for i in 0..p.len() {
        m[i] = fma(g[i] - m[i], (1.0 - beta1) as f32, m[i]);
        v[i] = fma((1.0 - beta2) as f32 * g[i], g[i], v[i] * beta2 as f32);
        let ratio = m[i] / fma(v[i].sqrt(), correction, epsilon as f32);
        p[i] = fma(length, ratio, p[i] * (1.0 - lr * decay) as f32);
    }
    answer(request, &[("parameter", p), ("m", m), ("v", v)])
}

pub fn rmsprop(request: &Request) -> Outcome<Vec<Tensor>> {
    let (mut p, g, mut v) = (state(request, 0)?, state(request, 1)?, state(request, 2)?);
    let (lr, alpha) = (request.float("lr")?, request.float("alpha")?);
    let (epsilon, decay) = (request.float("epsilon")?, request.float("decay")?);
    for i in 0..p.len() {
        let g = decayed(decay, p[i], g[i]);
        v[i] = fma((1.0 - alpha) as f32 * g, g, v[i] * alpha as f32);
        p[i] = fma(-lr as f32, g / (v[i].sqrt() + epsilon as f32), p[i]);
    }
    answer(request, &[("parameter", p), ("v", v)])
}

pub fn sgd(request: &Request) -> Outcome<Vec<Tensor>> {
    let (mut p, g, mut b) = (state(request, 0)?, state(request, 1)?, state(request, 2)?);
    let (lr, momentum, decay) = (request.float("lr")?, request.float("momentum")?, request.float("decay")?);
    let is_first = request.has("first") && request.number("first")? == 1;
    for i in 0..p.len() {
        let g = decayed(decay, p[i], g[i]);
        b[i] = if is_first || momentum == 0.0 { g } else { fma(b[i], momentum as f32, g) };
        p[i] = fma(-lr as f32, b[i], p[i]);
    }
    answer(request, &[("parameter", p), ("b", b)])
}
