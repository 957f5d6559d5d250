use lacewing_sdk::{Context, Result};

struct Order;

#[lacewing_sdk::call]
fn input_without_deserialize(order: Order) -> Result<u32> {
    let _ = order;
    Ok(7)
}

#[lacewing_sdk::call]
fn output_without_serialize() -> Result<Order> {
    Ok(Order)
}

#[lacewing_sdk::call]
fn no_result(number: u32) -> u32 {
    number
}

#[lacewing_sdk::call]
fn context_last(number: u32, context: Context) -> Result<u32> {
    let _ = context;
    Ok(number)
}

#[lacewing_sdk::call]
fn two_inputs(context: Context, one: u32, two: u32) -> Result<u32> {
    let _ = context;
    Ok(one + two)
}

#[lacewing_sdk::call]
async fn cannot_wait(number: u32) -> Result<u32> {
    Ok(number)
}

fn main() {}
