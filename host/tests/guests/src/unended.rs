//! A handler of the SDK's that prints without a line feed at the end.

#![cfg(target_os = "wasi")]

#[lacewing_sdk::http]
fn unended() -> &'static str {
    println!("one line");
    print!("and the beginning of another");
    "said it\n"
}
