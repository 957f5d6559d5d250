use lacewing_sdk::Json;

struct Order;

#[lacewing_sdk::http]
fn of_another_type(order: Order) -> String {
    let _ = order;
    String::new()
}

#[lacewing_sdk::http]
fn json_without_deserialize(Json(order): Json<Order>) -> String {
    let _ = order;
    String::new()
}

fn main() {}
