//! The little JSON that the SDK writes itself, so that a function without JSON carries no JSON
//! library.

/// Adds `"name":"value"`, with a comma before it unless it is the first.
pub(crate) fn member(text: &mut String, name: &str, value: &str) {
    key(text, name);
    string(text, value);
}

/// Adds a member whose value is JSON already.
pub(crate) fn raw_member(text: &mut String, name: &str, value: &str) {
    key(text, name);
    text.push_str(value);
}

fn key(text: &mut String, name: &str) {
    if !text.ends_with('{') {
        text.push(',');
    }
    string(text, name);
    text.push(':');
}

fn string(text: &mut String, value: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    text.push('"');
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\0'..='\x1f' => {
                text.push_str("\\u00");
                text.push(char::from(HEX[c as usize >> 4]));
                text.push(char::from(HEX[c as usize & 15]));
            }
            _ => text.push(c),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    #[test]
    fn strings_are_read_back_by_a_json_parser() {
        let all: String = (0..0x80u8).map(char::from).chain("äß🦋".chars()).collect();
        let mut text = String::new();
        super::string(&mut text, &all);
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), all);
    }
}
