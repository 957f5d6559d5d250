use lacewing_sdk::{Json, Result};

struct Order;

#[lacewing_sdk::http]
fn of_another_type() -> Order {
    Order
}

#[lacewing_sdk::http]
fn json_without_serialize() -> Json<Order> {
    Json(Order)
}

#[lacewing_sdk::http]
fn in_a_result() -> Result<u32> {
    Ok(7)
}

#[lacewing_sdk::http]
async fn async_too() -> Order {
    Order
}

fn main() {}
