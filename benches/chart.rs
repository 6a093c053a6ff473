//! Draws the bar chart of the cost of a SYN.

use std::error::Error;

use plotters::prelude::*;

use crate::report::rounded;

/// Writes an SVG file to `path`, with a bar for each name and its cost in nanoseconds.
///
/// The scale is logarithmic, because the costs differ by a factor of more than 100.
pub fn draw(bars: &[(String, f64)], path: &str) -> Result<(), Box<dyn Error>> {
    const WIDTH: u32 = 900;
    const BAR: u32 = 26;
    const NAMES: i32 = 330;
    let height = 54 + BAR * bars.len() as u32;
    let root = SVGBackend::new(path, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let title = ("sans-serif", 17).into_font().color(&BLACK);
    root.draw(&Text::new(
        "Nanoseconds per SYN across a veth pair, generator subtracted (logarithmic scale)",
        (10, 14),
        title,
    ))?;
    let highest = bars.iter().map(|&(_, cost)| cost).fold(10.0, f64::max);
    let scale = f64::from(WIDTH as i32 - NAMES - 90) / highest.log10();
    let label = ("sans-serif", 14).into_font().color(&BLACK);
    for (index, (name, cost)) in bars.iter().enumerate() {
        let top = 44 + (BAR * index as u32) as i32;
        let right = NAMES + (cost.max(1.0).log10() * scale) as i32;
        let color =
            if name.starts_with("tcp-bounce") { RGBColor(0x1f, 0x77, 0xb4) } else { RGBColor(0xb0, 0xb0, 0xb0) };
        root.draw(&Rectangle::new([(NAMES, top), (right, top + BAR as i32 - 8)], color.filled()))?;
        root.draw(&Text::new(name.clone(), (10, top + 2), label.clone()))?;
        root.draw(&Text::new(rounded(*cost), (right + 6, top + 2), label.clone()))?;
    }
    root.present()?;
    Ok(())
}
