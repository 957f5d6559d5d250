//! A dictionary that takes a tenth of a second to make, and is there when a request comes.
//!
//! `prepare` runs once, when the function is deployed; every sandbox starts from the memory that it
//! left.

use std::{collections::HashMap, sync::OnceLock};

use lacewing_sdk::{Error, Path, Result};

const NUMBERS: u32 = 100_000;

static BY_NAME: OnceLock<HashMap<String, u32>> = OnceLock::new();

/// Made by the init, and otherwise, where there was none, by whoever first asks.
fn by_name() -> &'static HashMap<String, u32> {
    BY_NAME.get_or_init(|| (0..NUMBERS).map(|number| (name(number), number)).collect())
}

#[lacewing_sdk::init]
fn prepare() {
    println!("{} names", by_name().len());
}

#[lacewing_sdk::http]
fn look_up(Path(name): Path<String>) -> Result<String> {
    match by_name().get(&name) {
        Some(number) => Ok(format!("{number}\n")),
        None => Err(Error::not_found(format!("`{name}` is no number below {NUMBERS}"))),
    }
}

const SMALL: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];

const TENS: [&str; 10] =
    ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];

/// The name of a number, with hyphens for blanks: `four-hundred-two`.
fn name(number: u32) -> String {
    let (head, rest) = match number {
        0..20 => return SMALL[number as usize].to_owned(),
        20..100 => (TENS[number as usize / 10].to_owned(), number % 10),
        100..1000 => (name(number / 100) + "-hundred", number % 100),
        1000.. => (name(number / 1000) + "-thousand", number % 1000),
    };
    if rest == 0 { head } else { format!("{head}-{}", name(rest)) }
}

#[cfg(test)]
mod tests {
    use super::{look_up, name, prepare};
    use lacewing_sdk::test;

    #[test]
    fn numbers_have_names() {
        let names = [7, 40, 42, 402, 12_345].map(name);
        assert_eq!(
            names,
            [
                "seven",
                "forty",
                "forty-two",
                "four-hundred-two",
                "twelve-thousand-three-hundred-forty-five"
            ]
        );
    }

    #[test]
    fn names_are_found() {
        prepare();
        let found = |name: &str| test::get("/").param("name", name).call(look_up);
        assert_eq!(found("forty-two").text(), "42\n");
        assert_eq!(found("fourty-two").status(), 404);
    }
}
