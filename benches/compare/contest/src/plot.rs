//! Plots of results, as SVG.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::ranged1d::SegmentValue;
use plotters::element::{Circle, PathElement};
use plotters::prelude::{
    ChartBuilder, Color, IntoDrawingArea, IntoFont, IntoLogRange, IntoSegmentedCoord, Palette,
    Palette99, SVGBackend, Text, WHITE,
};

use crate::figures::Spread;

/// A figure over several cases, on a logarithmic scale.
pub struct Plot {
    pub title: String,
    /// What the figure is, with its unit.
    pub figure: &'static str,
    /// Names of the cases, from left to right.
    pub cases: Vec<String>,
    pub lines: Vec<Line>,
}

/// One contender.
pub struct Line {
    pub name: String,
    /// Number of its color.
    pub color: usize,
    /// One for each case.
    pub values: Vec<Option<Spread>>,
}

impl Plot {
    /// Medians as points, joined by lines; what the rounds ranged over as strokes.
    pub fn write(&self, path: &Path) -> Result<()> {
        self.draw(path)
            .map_err(|error| anyhow!("{}: {error}", path.display()))
    }

    fn draw(&self, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let spreads = || {
            self.lines
                .iter()
                .flat_map(|line| line.values.iter().flatten())
        };
        let least = spreads()
            .map(|spread| spread.min)
            .fold(f64::INFINITY, f64::min);
        let most = spreads().map(|spread| spread.max).fold(0.0, f64::max);
        let area = SVGBackend::new(path, (960, 540)).into_drawing_area();
        area.fill(&WHITE)?;
        let (area, legend) = area.split_horizontally(780);
        let mut chart = ChartBuilder::on(&area)
            .caption(&self.title, ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(72)
            .build_cartesian_2d(
                (0..self.cases.len() - 1).into_segmented(),
                (least / 1.5..most * 1.5).log_scale(),
            )?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_label_formatter(&|place| match place {
                SegmentValue::CenterOf(case) => self.cases.get(*case).cloned().unwrap_or_default(),
                _ => String::new(),
            })
            .y_label_formatter(&|value| crate::table::rate(*value))
            .y_desc(self.figure)
            .draw()?;
        for (number, line) in self.lines.iter().enumerate() {
            let color = Palette99::pick(line.color).to_rgba();
            let values = line.values.iter().enumerate();
            let known: Vec<_> = values
                .filter_map(|(case, spread)| Some((case, (*spread)?)))
                .collect();
            let medians = known
                .iter()
                .map(|(case, spread)| (SegmentValue::CenterOf(*case), spread.median));
            let path: Vec<_> = medians.clone().collect();
            chart.draw_series([PathElement::new(path, color.stroke_width(2))])?;
            chart.draw_series(medians.map(|point| Circle::new(point, 3, color.filled())))?;
            chart.draw_series(known.iter().map(|(case, spread)| {
                let place = SegmentValue::CenterOf(*case);
                PathElement::new([(place.clone(), spread.min), (place, spread.max)], color)
            }))?;
            let height = 60 + 22 * number as i32;
            let stroke = color.stroke_width(3);
            legend.draw(&PathElement::new([(4, height), (24, height)], stroke))?;
            let font = ("sans-serif", 15).into_font();
            legend.draw(&Text::new(line.name.as_str(), (32, height - 6), font))?;
        }
        area.present()?;
        Ok(())
    }
}
