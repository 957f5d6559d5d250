//! Takes an order as JSON, checks it, and answers with its price.

use lacewing_sdk::{Error, Json, Result};
use serde::{Deserialize, Serialize};

/// Euro cents.
const UNIT_PRICE: u64 = 250;

#[derive(Deserialize)]
struct Order {
    item: String,
    quantity: u64,
}

#[derive(Serialize)]
struct Quote {
    item: String,
    total_cents: u64,
}

#[lacewing_sdk::http]
fn quote(Json(order): Json<Order>) -> Result<Json<Quote>> {
    if !(1..=1000).contains(&order.quantity) {
        return Err(Error::unprocessable("`quantity` must be from 1 to 1000"));
    }
    Ok(Json(Quote {
        item: order.item,
        total_cents: UNIT_PRICE * order.quantity,
    }))
}

#[cfg(test)]
mod tests {
    use super::quote;
    use lacewing_sdk::test::{self, TestResponse};

    fn order(json: &'static str) -> TestResponse {
        test::post("/quotes")
            .header("content-type", "application/json")
            .body(json)
            .call(quote)
    }

    #[test]
    fn an_order_has_a_price() {
        let response = order(r#"{"item":"net","quantity":3}"#);
        assert_eq!(response.status(), 200);
        assert_eq!(response.text(), r#"{"item":"net","total_cents":750}"#);
    }

    #[test]
    fn an_order_of_nothing_is_refused() {
        let response = order(r#"{"item":"net","quantity":0}"#);
        assert_eq!(response.status(), 422);
    }
}
