//! A strict reader of the pages that the program writes, for its tests.
//!
//! Owns what is taken for well-formed: every element is closed in its turn, every value of an attribute is quoted, no
//! bare `&` or `<` is in a text, no two elements have one `id`, and every link within the page leads somewhere.

use std::collections::HashSet;

/// An element as it begins.
#[derive(Debug)]
pub struct Element {
    pub name: String,
    pub attributes: Vec<(String, String)>,
}

impl Element {
    pub fn attribute(&self, wanted: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.as_str())
    }
}

/// Those that have no end.
const VOID: [&str; 2] = ["meta", "br"];
const ENTITIES: [&str; 5] = ["amp;", "lt;", "gt;", "quot;", "#39;"];

/// All elements in their order; panics where the page is not well-formed.
pub fn elements(page: &str) -> Vec<Element> {
    let mut rest = page
        .strip_prefix("<!DOCTYPE html>\n")
        .expect("the page says that it is HTML");
    let mut elements: Vec<Element> = Vec::new();
    let mut open: Vec<String> = Vec::new();
    while let Some(start) = rest.find('<') {
        check_text(&rest[..start]);
        let end = rest[start..].find('>').expect("a tag ends") + start;
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "before: {rest:.200}");
            continue;
        }
        let closed = tag.ends_with('/');
        let element = element(tag.trim_end_matches('/'));
        if element.name == "style" {
            rest = &rest[rest.find("</style>").expect("the style ends")..];
        }
        if !closed && !VOID.contains(&element.name.as_str()) {
            open.push(element.name.clone());
        }
        elements.push(element);
    }
    assert!(open.is_empty(), "never closed: {open:?}");
    assert_eq!(rest.trim(), "", "text after the page");
    check_links(&elements);
    elements
}

fn element(tag: &str) -> Element {
    let (name, mut rest) = tag.split_once(' ').unwrap_or((tag, ""));
    let mut attributes = Vec::new();
    while !rest.trim().is_empty() {
        let (attribute, after) = rest.split_once("=\"").unwrap_or_else(|| {
            panic!("an attribute without a quoted value: {tag}");
        });
        let (value, after) = after.split_once('"').expect("a value ends");
        check_text(value);
        let attribute = attribute.trim();
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-';
        assert!(
            !attribute.is_empty() && attribute.chars().all(is_word),
            "{tag}"
        );
        assert!(
            attributes.iter().all(|(name, _)| name != attribute),
            "twice: {tag}"
        );
        attributes.push((attribute.to_owned(), value.to_owned()));
        rest = after;
    }
    Element {
        name: name.to_owned(),
        attributes,
    }
}

fn check_text(text: &str) {
    for (place, _) in text.match_indices('&') {
        let after = &text[place + 1..];
        let known = ENTITIES.iter().any(|entity| after.starts_with(entity));
        assert!(known, "a bare &: {text}");
    }
    assert!(!text.contains('>'), "a bare >: {text}");
}

fn check_links(elements: &[Element]) {
    let mut ids = HashSet::new();
    for id in elements.iter().filter_map(|it| it.attribute("id")) {
        assert!(ids.insert(id), "two elements are called {id}");
    }
    for link in elements.iter().filter_map(|it| it.attribute("href")) {
        let leads = link.strip_prefix('#').is_some_and(|id| ids.contains(id));
        assert!(leads, "a link to nothing: {link}");
    }
}
