//! Batch norm and ReLU, fused and separate.

use crate::fused::fma;
use crate::maps::Maps;
use crate::stream::{require, Outcome, Request, Tensor};
use crate::sums::{add_to, batch_sums, double, rounded};

#[derive(Clone, Copy, PartialEq)]
pub enum Activation {
    None,
    Relu,
    Relu6,
}

impl Activation {
    fn read(request: &Request, key: &str) -> Outcome<Activation> {
        match request.word(key)? {
            "none" => Ok(Activation::None),
            "relu" | "0" => Ok(Activation::Relu),
            "relu6" | "6" => Ok(Activation::Relu6),
            other => Err(format!("{key} cannot be {other}")),
        }
    }

    /// max(y, 0) or min(max(y, 0), 6); NaN stays.
    pub fn apply(self, y: f32) -> f32 {
        match self {
            Activation::None => y,
            _ if y <= 0.0 => 0.0,
            Activation::Relu6 if y > 6.0 => 6.0,
            _ => y,
        }
    }

    /// The gradient where the input y was let through, and 0 elsewhere.
    fn gradient(self, gradient: f32, y: f32) -> f32 {
        let is_through = y > 0.0 && (self == Activation::Relu || y < 6.0);
        if self == Activation::None || is_through || y.is_nan() { gradient } else { 0.0 }
    }
}

/// What batch norm knows of a channel.
pub struct Channel {
    mean: f64,
    variance: f64,
    inverse: f64,
    slope: f64,
    pub centre: f32,
    pub scale: f32,
    pub shift: f32,
}

impl Channel {
    pub fn new(mean: f64, variance: f64, epsilon: f64, weight: f32, bias: f32) -> Channel {
        let inverse = 1.0 / (variance + epsilon).sqrt();
        let slope = f64::from(weight) * inverse;
        let centre = mean as f32;
        let shift = (f64::from(centre) - mean).mul_add(slope, f64::from(bias)) as f32;
        Channel { mean, variance, inverse, slope, centre, scale: slope as f32, shift }
    }

    pub fn apply(&self, x: f32) -> f32 {
        fma(x - self.centre, self.scale, self.shift) + 0.0
    }
}

struct BatchNorm {
    maps: Maps,
    is_training: bool,
    activation: Activation,
    channels: Vec<Channel>,
    second: Option<Maps>,
}

impl BatchNorm {
    /// The inputs from `first` on are maps, weight, bias, running mean and variance, and perhaps the second map.
    fn read(request: &Request, first: usize) -> Outcome<BatchNorm> {
        let is_training = match request.word("mode")? {
            "training" => true,
            "given" => false,
            other => return Err(format!("there is no mode named {other}")),
        };
        let maps = Maps::read(request, first)?;
        let second = if request.inputs() > first + 5 { Some(Maps::read(request, first + 5)?) } else { None };
        require(second.iter().all(|second| second.shape() == maps.shape()), "the shapes of the maps differ")?;
        let vector = |place: usize| request.f32(first + place, &[maps.channels]);
        let (weight, bias, epsilon) = (vector(1)?, vector(2)?, request.float("epsilon")?);
        let running = (double(&vector(3)?), double(&vector(4)?));
        let (mean, variance) = if is_training { moments(&maps) } else { running };
        let channel = |c: usize| Channel::new(mean[c], variance[c], epsilon, weight[c], bias[c]);
        let channels = (0..maps.channels).map(channel).collect();
        Ok(BatchNorm { maps, is_training, activation: Activation::read(request, "activation")?, channels, second })
    }

    /// Images x positions.
    fn n(&self) -> f64 {
        (self.maps.images * self.maps.positions()) as f64
    }

    /// What the activation sees at a place of the maps.
    fn before_activation(&self, place: usize) -> f32 {
        let y = self.channels[place % self.channels.len()].apply(self.maps.values[place]);
        self.second.as_ref().map_or(y, |second| y + second.values[place])
    }
}

/// Sums over the batch of a term of each place of maps, for each channel.
fn channel_sums(maps: &Maps, term: impl Fn(usize) -> f64) -> Vec<f64> {
    batch_sums(maps.images, maps.positions(), maps.channels, |position, sums| {
        let first = position * maps.channels;
        let terms: Vec<f64> = (first..first + maps.channels).map(&term).collect();
        add_to(sums, &terms);
    })
}

/// Mean and variance of each channel.
fn moments(maps: &Maps) -> (Vec<f64>, Vec<f64>) {
    let n = (maps.images * maps.positions()) as f64;
    let x = |place: usize| f64::from(maps.values[place]);
    let mean: Vec<f64> = channel_sums(maps, x).iter().map(|sum| sum / n).collect();
    let squares = channel_sums(maps, |place| x(place) * x(place));
    let difference = |(mean, squares): (&f64, f64)| (-mean).mul_add(*mean, squares / n);
    let difference = mean.iter().zip(squares).map(difference);
    // Not f64::max, which would turn NaN into 0.
    let variance = difference.map(|difference| if difference < 0.0 { 0.0 } else { difference }).collect();
    (mean, variance)
}

pub fn forward(request: &Request) -> Outcome<Vec<Tensor>> {
    let norm = BatchNorm::read(request, 0)?;
    let shape = [norm.channels.len()];
    let result = |place: usize| norm.activation.apply(norm.before_activation(place));
    let result = Maps { values: (0..norm.maps.values.len()).map(result).collect(), ..norm.maps };
    let mut running = [request.f32(3, &shape)?, request.f32(4, &shape)?];
    let mut outputs = vec![result.tensor("result")];
    if norm.is_training {
        let of_channels = |value: fn(&Channel) -> f64| norm.channels.iter().map(value).collect::<Vec<f64>>();
        outputs.push(Tensor::f64("mean_f64", &shape, &of_channels(|channel| channel.mean)));
        outputs.push(Tensor::f64("inverse_f64", &shape, &of_channels(|channel| channel.inverse)));
        let momentum = request.float("momentum")?;
        let next = |r: f32, new: f64| momentum.mul_add(new, (1.0 - momentum) * f64::from(r)) as f32;
        for (c, channel) in norm.channels.iter().enumerate() {
            running[0][c] = next(running[0][c], channel.mean);
            running[1][c] = next(running[1][c], channel.variance * (norm.n() / (norm.n() - 1.0)));
        }
    }
    outputs.push(Tensor::f32("running_mean", &shape, &running[0]));
    outputs.push(Tensor::f32("running_var", &shape, &running[1]));
    Ok(outputs)
}

pub fn backward(request: &Request) -> Outcome<Vec<Tensor>> {
    let norm = BatchNorm::read(request, 1)?;
    let (maps, channels, n) = (&norm.maps, &norm.channels, norm.n());
    let mut g = Maps::read(request, 0)?;
    require(g.shape() == maps.shape(), "the shapes of the maps differ")?;
    for (place, value) in g.values.iter_mut().enumerate() {
        *value = norm.activation.gradient(*value, norm.before_activation(place));
    }
    let a = |place: usize| maps.values[place] - channels[place % channels.len()].centre;
    let s = channel_sums(maps, |place| f64::from(g.values[place]));
    let mut p = channel_sums(maps, |place| f64::from(g.values[place]) * f64::from(a(place)));
    let (mut tilt, mut offset) = (Vec::new(), Vec::new());
    for (c, &Channel { mean, centre, slope, inverse, .. }) in channels.iter().enumerate() {
        let rest = mean - f64::from(centre);
        p[c] = (-rest).mul_add(s[c], p[c]);
        tilt.push(-(slope * (inverse * inverse)) * (p[c] / n));
        offset.push(-(slope * (s[c] / n)) - tilt[c] * rest);
    }
    let dx = |place: usize| {
        let (g, c) = (g.values[place], place % channels.len());
        if norm.is_training {
            a(place).mul_add(tilt[c] as f32, g.mul_add(channels[c].scale, offset[c] as f32))
        } else {
            g.mul_add(channels[c].scale, 0.0)
        }
    };
    let dx = Maps { values: (0..g.values.len()).map(dx).collect(), ..*maps };
    let dweight: Vec<f64> = p.iter().zip(channels).map(|(p, channel)| p * channel.inverse).collect();
    let mut outputs = vec![
        dx.tensor("gradient"),
        Tensor::f32("weight", &[channels.len()], &rounded(&dweight)),
        Tensor::f32("bias", &[channels.len()], &rounded(&s)),
    ];
    if norm.second.is_some() {
        outputs.push(g.tensor("second"));
    }
    Ok(outputs)
}

pub fn relu(request: &Request) -> Outcome<Vec<Tensor>> {
    let (activation, shape) = (Activation::read(request, "limit")?, request.any_shape(0)?);
    let values: Vec<f32> = request.f32(0, shape)?.iter().map(|&value| activation.apply(value + 0.0)).collect();
    Ok(vec![Tensor::f32("result", shape, &values)])
}

pub fn relu_backward(request: &Request) -> Outcome<Vec<Tensor>> {
    let (activation, shape) = (Activation::read(request, "limit")?, request.any_shape(0)?);
    let (gradient, values) = (request.f32(0, shape)?, request.f32(1, shape)?);
    let results = gradient.iter().zip(&values).map(|(&gradient, &value)| activation.gradient(gradient, value));
    Ok(vec![Tensor::f32("gradient", shape, &results.collect::<Vec<_>>())])
}
