use lacewing_sdk::{Context, Result};

#[lacewing_sdk::init]
fn with_input(context: Context) {
    let _ = context;
}

#[lacewing_sdk::init]
fn with_result() -> Vec<u8> {
    Vec::new()
}

#[lacewing_sdk::init]
fn with_value() -> Result<u32> {
    Ok(7)
}

#[lacewing_sdk::init]
async fn cannot_wait() {}

fn main() {}
