//! HTTP responses of the metrics server (RFC 9110, RFC 9112).

use httparse::{EMPTY_HEADER, Request, Status};
use prometheus::TEXT_FORMAT;

use super::page::Page;

/// The limit for the length of an incomplete request head (request line and header fields), in bytes.
const MAX_HEAD: usize = 8192;

/// The maximum number of header fields in a request.
const MAX_FIELDS: usize = 64;

const METHOD_NOT_ALLOWED: &str = "405 Method Not Allowed";

/// Returns the response to a request that starts with `received`.
///
/// Returns `None` instead if the request head is incomplete and shorter than [`MAX_HEAD`].
pub fn to(received: &[u8], page: &Page) -> Option<Vec<u8>> {
    let mut fields = [EMPTY_HEADER; MAX_FIELDS];
    let mut request = Request::new(&mut fields);
    let parsed = request.parse(received);
    let method = request.method.unwrap_or_default();
    let (status, body) = match parsed {
        Ok(Status::Complete(_)) => answer(method, request.path.unwrap_or_default(), page),
        Ok(Status::Partial) if received.len() < MAX_HEAD => return None,
        Ok(Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            ("431 Request Header Fields Too Large", "the request header is too large\n".to_owned())
        }
        Err(_) => ("400 Bad Request", "not an HTTP request\n".to_owned()),
    };
    let allow = if status == METHOD_NOT_ALLOWED { "Allow: GET, HEAD\r\n" } else { "" };
    let length = body.len();
    let mut response = format!(
        "HTTP/1.1 {status}\r\n\
         Content-Type: {TEXT_FORMAT}\r\n\
         Content-Length: {length}\r\n\
         {allow}\
         Connection: close\r\n\r\n"
    );
    if method != "HEAD" {
        response += &body;
    }
    Some(response.into_bytes())
}

/// Returns the status code with its reason phrase, and the body, for `method` and the request target.
fn answer(method: &str, target: &str, page: &Page) -> (&'static str, String) {
    // Prometheus adds a query if its scrape job has `params`.
    let path = target.split('?').next().unwrap_or_default();
    match (method, path) {
        ("GET" | "HEAD", "/metrics") => match page {
            Ok(page) => ("200 OK", page.clone()),
            Err(error) => ("500 Internal Server Error", error.to_string()),
        },
        ("GET" | "HEAD", _) => ("404 Not Found", "not found; the metrics are at /metrics\n".to_owned()),
        _ => (METHOD_NOT_ALLOWED, "method not allowed; use GET or HEAD\n".to_owned()),
    }
}
