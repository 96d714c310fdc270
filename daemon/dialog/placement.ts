// Where the window opens: on the monitor, and not under the pointer (QubesOS issue 1166: a click meant for what was
// there before must not land on it).

export interface Point {
  readonly x: number;
  readonly y: number;
}

export interface Size {
  readonly width: number;
  readonly height: number;
}

export type Area = Point & Size;

/** Distance kept to the pointer and, where there is room, to the edges; also covers the frame a window manager adds. */
const MARGIN = 48;

/** Whether a window of this size, frame included, is wholly visible in the area. */
export const fits = (size: Size, area: Size): boolean =>
  size.width + 2 * FRAME.width <= area.width && size.height + FRAME.height <= area.height;

// Window managers draw a border left and right and a title above.
const FRAME = { width: 8, height: 48 };

/** The top left corner: the most central of a few places that keep away from the pointer, else the farthest one. */
export const placeFor = ({ width, height }: Size, area: Area, pointer: Point | null): Point => {
  const free = { width: area.width - width, height: Math.max(0, area.height - FRAME.height - height) };
  const places = TRIES.map(([across, down]) => ({
    x: Math.round(area.x + free.width * across),
    y: Math.round(area.y + free.height * down),
  }));
  const away = ({ x, y }: Point): number => (pointer === null ? MARGIN : distance(pointer, { x, y, width, height }));
  return places.find((place) => away(place) >= MARGIN) ?? places.reduce((a, b) => (away(b) > away(a) ? b : a));
};

// Fractions of the free room: the middle, a little higher, the sides, the corners.
const TRIES = [
  [0.5, 0.4],
  [0.5, 0.05],
  [0.5, 0.95],
  [0.02, 0.4],
  [0.98, 0.4],
  [0.02, 0.05],
  [0.98, 0.05],
  [0.02, 0.95],
  [0.98, 0.95],
] as const;

/** From a point to the nearest edge of an area; 0 inside. */
const distance = ({ x, y }: Point, area: Area): number =>
  Math.hypot(Math.max(area.x - x, 0, x - (area.x + area.width)), Math.max(area.y - y, 0, y - (area.y + area.height)));
