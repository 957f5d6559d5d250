//! Calls.

use lacewing_sdk::{Bytes, Context, Error, Result, test};

#[lacewing_sdk::call]
fn sum(numbers: Vec<u32>) -> Result<u32> {
    Ok(numbers.iter().sum())
}

#[test]
fn json_in_and_out() {
    assert_eq!(test::call(sum, "[1, 2, 3]").unwrap(), b"6");
}

#[test]
fn an_input_that_does_not_fit_is_named_with_its_place() {
    let failure = test::call(sum, "[1, -2]").unwrap_err();
    assert_eq!(failure.name, "InvalidInput");
    assert_eq!(
        failure.message,
        "the input does not have the expected shape at `[1]`, line 1 column 6: \
         invalid value: integer `-2`, expected u32"
    );
    let failure = test::call(sum, "").unwrap_err();
    assert_eq!(
        failure.message,
        "the input is not valid JSON, line 1 column 0: EOF while parsing a value"
    );
}

#[test]
fn bytes_are_not_read() {
    let reverse = |input: Vec<u8>| Ok::<_, Error>(input.into_iter().rev().collect::<Vec<u8>>());
    assert_eq!(test::call(reverse, [0, 1, 255]).unwrap(), [255, 1, 0]);
    let echo = |input: Bytes| Ok::<_, Error>(input);
    assert_eq!(test::call(echo, [0, 1, 255]).unwrap(), [0, 1, 255]);
}

#[test]
fn a_context_may_come_first_and_an_input_may_be_absent() {
    let with_context = |_: Context, input: String| Ok::<_, Error>(input);
    assert_eq!(test::call(with_context, "\"a\"").unwrap(), b"\"a\"");
    let without_input = || Ok::<_, Error>(());
    assert_eq!(test::call(without_input, "whatever").unwrap(), b"null");
}

#[test]
fn an_error_has_the_name_of_its_type() {
    let parse = |input: String| Ok::<u8, Error>(input.parse()?);
    let failure = test::call(parse, "\"many\"").unwrap_err();
    assert_eq!(failure.name, "ParseIntError");
    assert_eq!(failure.message, "invalid digit found in string");
}
