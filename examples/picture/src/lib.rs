//! A picture per request: the Mandelbrot set, where and how deep the query says.

use lacewing_sdk::http::header;
use lacewing_sdk::{Error, IntoResponse, Query, Result};
use serde::Deserialize;

/// The fields of the query; everything has a default.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct View {
    /// Width and height in pixels.
    width: u32,
    height: u32,
    /// The centre.
    x: f64,
    y: f64,
    /// How many times narrower than the whole set.
    zoom: f64,
    /// How long a point may take to escape.
    depth: u16,
}

impl Default for View {
    fn default() -> View {
        View { width: 640, height: 480, x: -0.6, y: 0.0, zoom: 1.0, depth: 256 }
    }
}

impl View {
    fn checked(self) -> Result<View> {
        if !(1..=2048).contains(&self.width) || !(1..=2048).contains(&self.height) {
            return Err(Error::bad_request("`width` and `height` are from 1 to 2048 pixels"));
        }
        if self.zoom <= 0.0 || ![self.zoom, self.x, self.y].iter().all(|number| number.is_finite())
        {
            return Err(Error::bad_request("`zoom` is over 0, and all numbers are finite"));
        }
        Ok(self)
    }
}

#[lacewing_sdk::http]
fn picture(Query(view): Query<View>) -> Result<impl IntoResponse> {
    let view = view.checked()?;
    Ok(([(header::CONTENT_TYPE, "image/png")], png(&view)?))
}

fn png(view: &View) -> Result<Vec<u8>> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, view.width, view.height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&pixels(view))?;
    writer.finish()?;
    Ok(file)
}

fn pixels(view: &View) -> Vec<u8> {
    let step = 3.0 / view.zoom / f64::from(view.width);
    let left = view.x - step * f64::from(view.width) / 2.0;
    let top = view.y - step * f64::from(view.height) / 2.0;
    let points = (0..view.height)
        .flat_map(|row| (0..view.width).map(move |column| (f64::from(column), f64::from(row))));
    points
        .flat_map(|(column, row)| {
            colour(escape(left + step * column, top + step * row, view.depth), view.depth)
        })
        .collect()
}

/// How many steps z² + c takes to leave, or `depth` if it stays.
fn escape(cx: f64, cy: f64, depth: u16) -> u16 {
    let (mut x, mut y) = (0.0f64, 0.0f64);
    for step in 0..depth {
        let (xx, yy) = (x * x, y * y);
        if xx + yy > 4.0 {
            return step;
        }
        (x, y) = (xx - yy + cx, 2.0 * x * y + cy);
    }
    depth
}

/// Black inside, from blue over green to white outside.
fn colour(steps: u16, depth: u16) -> [u8; 3] {
    if steps == depth {
        return [0, 0, 0];
    }
    let shade = |speed: u32| (u32::from(steps) * speed).min(255).to_le_bytes()[0];
    [shade(2), shade(6), shade(14).max(60)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use lacewing_sdk::test;

    #[test]
    fn it_is_a_png_of_the_size_asked_for() {
        let response = test::get("/picture.png?width=32&height=16").call(picture);
        assert_eq!(response.header("content-type"), Some("image/png"));
        let reader = png::Decoder::new(std::io::Cursor::new(response.bytes())).read_info().unwrap();
        assert_eq!((reader.info().width, reader.info().height), (32, 16));
    }

    #[test]
    fn the_middle_of_the_set_is_black_and_far_away_is_not() {
        assert_eq!(colour(escape(0.0, 0.0, 100), 100), [0, 0, 0]);
        assert_ne!(colour(escape(2.0, 2.0, 100), 100), [0, 0, 0]);
    }

    #[test]
    fn a_value_out_of_range_is_refused_by_name() {
        let problem = test::get("/picture.png?width=9000").call(picture);
        assert_eq!(problem.status(), 400);
        assert!(problem.text().contains("`width`"), "{}", problem.text());
        let problem = test::get("/picture.png?zom=2").call(picture);
        assert!(problem.text().contains("`zom`"), "{}", problem.text());
    }
}
