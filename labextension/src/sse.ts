/** One event of a stream. */
export interface StreamEvent {
  name: string;
  data: string;
  /** Where to go on after it; empty where it can't be gone on from. */
  id: string;
}

/** Cuts server-sent events out of text that comes in pieces of any size. */
export class EventParser {
  /** Take a piece, and return the events that are complete with it. */
  push(piece: string): StreamEvent[] {
    // A carriage return at the end may be half of a line's end.
    const text = this.rest + piece;
    const held = text.endsWith('\r') ? 1 : 0;
    const lines = text.slice(0, text.length - held).split(/\r\n|\n|\r/);
    this.rest = lines.pop()! + text.slice(text.length - held);
    const found: StreamEvent[] = [];
    for (const line of lines) {
      this.take(line, found);
    }
    return found;
  }

  private take(line: string, found: StreamEvent[]): void {
    if (line === '') {
      if (this.data.length > 0) {
        found.push({ name: this.name || 'message', data: this.data.join('\n'), id: this.id });
      }
      this.name = '';
      this.data = [];
      return;
    }
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'event') {
      this.name = value;
    } else if (field === 'data') {
      this.data.push(value);
    } else if (field === 'id') {
      this.id = value;
    }
  }

  private rest = '';
  private name = '';
  private data: string[] = [];
  private id = '';
}
