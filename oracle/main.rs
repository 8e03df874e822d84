//! A second implementation of the portable arithmetic, written from its document alone.
//!
//! Requests come on standard input and answers go to standard output; see stream.rs.

mod convolution;
mod dropout;
mod fused;
mod linear;
mod loss;
mod maps;
mod metrics;
mod normalisation;
mod pooling;
mod product;
mod steps;
mod stream;
mod sums;
mod weights;
mod winograd;

use std::io::{stdin, stdout, BufReader, BufWriter};
use stream::{Outcome, Request, Tensor};

fn answer(request: &Request) -> Outcome<Vec<Tensor>> {
    match request.operation.as_str() {
        "convolution" => convolution::forward(request),
        "convolution_backward" => convolution::backward(request),
        "weight_gradient" => weights::weight(request),
        "bias_gradient" => weights::bias(request),
        "linear" => linear::forward(request),
        "linear_backward" => linear::backward(request),
        "batch_norm" => normalisation::forward(request),
        "batch_norm_backward" => normalisation::backward(request),
        "relu" => normalisation::relu(request),
        "relu_backward" => normalisation::relu_backward(request),
        "cross_entropy" => loss::cross_entropy(request),
        "cross_entropy_backward" => loss::cross_entropy_backward(request),
        "softmax" => loss::softmax(request),
        "exp" => loss::each(request, loss::exp),
        "log" => loss::each(request, loss::log),
        "average_pool" => pooling::average(request),
        "average_pool_backward" => pooling::average_backward(request),
        "max_pool" => pooling::maximum(request),
        "max_pool_backward" => pooling::maximum_backward(request),
        "dropout" => dropout::dropout(request),
        "philox" => dropout::draw(request),
        "adamw" => steps::adamw(request),
        "rmsprop" => steps::rmsprop(request),
        "sgd" => steps::sgd(request),
        "product" => product::product(request),
        "class_accuracy" => metrics::class_accuracy(request),
        "average_precision" => metrics::average_precision(request),
        other => Err(format!("there is no operation named {other}")),
    }
}

fn serve() -> Outcome<()> {
    let mut input = BufReader::with_capacity(1 << 20, stdin());
    let mut output = BufWriter::with_capacity(1 << 20, stdout());
    while let Some(request) = Request::read(&mut input)? {
        let tensors = answer(&request).map_err(|reason| format!("{}: {reason}", request.operation))?;
        stream::write(&mut output, &tensors).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn main() {
    if let Err(reason) = serve() {
        eprintln!("{reason}.");
        std::process::exit(1);
    }
}
