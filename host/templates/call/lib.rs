//! Called with an input, answers with an output; both are JSON.

use lacewing_sdk::{Error, Result};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Input {
    numbers: Vec<f64>,
}

#[derive(Serialize)]
struct Output {
    mean: f64,
}

#[lacewing_sdk::call]
fn mean(input: Input) -> Result<Output> {
    if input.numbers.is_empty() {
        // The caller matches on the name.
        return Err(Error::named(
            "NoNumbers",
            "the mean of no numbers is not defined",
        ));
    }
    let sum: f64 = input.numbers.iter().sum();
    Ok(Output {
        mean: sum / input.numbers.len() as f64,
    })
}

#[cfg(test)]
mod tests {
    use super::{Input, mean};

    #[test]
    fn it_is_the_sum_over_the_count() {
        let output = mean(Input {
            numbers: vec![1.0, 2.0, 6.0],
        })
        .unwrap();
        assert_eq!(output.mean, 3.0);
    }

    #[test]
    fn no_numbers_have_none() {
        let error = mean(Input { numbers: vec![] }).err().unwrap();
        assert_eq!(error.name(), "NoNumbers");
    }
}
