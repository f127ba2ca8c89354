"""What the commands print: values of the face as tables, trees and lines."""
