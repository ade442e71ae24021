# SPDX-License-Identifier: GPL-3.0-or-later
"""Line charts as SVG, by the standard library only: logarithmic x, linear y from zero."""
import html
import math

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 320, 64, 190, 34, 46
COLOURS = ('#1b6ca8', '#c0392b', '#2e8b57', '#8e44ad', '#b9770e', '#555555')


def si(v):
    for limit, unit in ((1e9, 'G'), (1e6, 'M'), (1e3, 'k')):
        if abs(v) >= limit:
            return '%g%s' % (float('%.3g' % (v / limit)), unit)
    return '%g' % float('%.3g' % v)


def ticks(top):
    """Round steps from 0 to at least @top."""
    step = 10 ** math.floor(math.log10(top / 4)) if top > 0 else 1
    step = next(s for s in (step, 2 * step, 5 * step, 10 * step) if top / s <= 6)
    return [i * step for i in range(math.ceil(top / step - 1e-9) + 1)]


def lines(title, x_label, y_label, series):
    """@series: [(name, [(x, y), ...])]. Return: the SVG's text."""
    xs = [x for _, points in series for x, _ in points]
    y_ticks = ticks(max(y for _, points in series for _, y in points))
    lo, hi = math.log10(min(xs)), math.log10(max(xs))
    hi = hi if hi > lo else lo + 1

    def px(x):
        return LEFT + (math.log10(x) - lo) / (hi - lo) * (WIDTH - LEFT - RIGHT)

    def py(y):
        return HEIGHT - BOTTOM - y / y_ticks[-1] * (HEIGHT - TOP - BOTTOM)

    def text(x, y, words, anchor='middle', more=''):
        return '<text x="%.1f" y="%.1f" text-anchor="%s"%s>%s</text>' % (
            x, y, anchor, more, html.escape(words))

    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" '
           'font-size="12">' % (WIDTH, HEIGHT),
           '<rect width="100%" height="100%" fill="white"/>',
           text(LEFT, 18, title, 'start', ' font-size="14"')]
    for y in y_ticks:
        out.append('<path d="M%d %.1fH%d" stroke="#dddddd"/>' % (LEFT, py(y), WIDTH - RIGHT))
        out.append(text(LEFT - 6, py(y) + 4, si(y), 'end'))
    for x in sorted(set(xs)):
        out.append(text(px(x), HEIGHT - BOTTOM + 16, si(x)))
    out.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, x_label))
    out.append(text(14, (TOP + HEIGHT - BOTTOM) / 2, y_label, 'middle',
                    ' transform="rotate(-90 14 %d)"' % ((TOP + HEIGHT - BOTTOM) / 2)))
    for i, (name, points) in enumerate(series):
        colour = COLOURS[i % len(COLOURS)]
        points = sorted(points)
        path = ' '.join('%s%.1f %.1f' % ('L' if k else 'M', px(x), py(y))
                        for k, (x, y) in enumerate(points))
        out.append('<path d="%s" fill="none" stroke="%s" stroke-width="2"/>' % (path, colour))
        out += ['<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>' % (px(x), py(y), colour)
                for x, y in points]
        out.append('<rect x="%d" y="%d" width="12" height="12" fill="%s"/>' % (
            WIDTH - RIGHT + 14, TOP + 20 * i, colour))
        out.append(text(WIDTH - RIGHT + 32, TOP + 20 * i + 10, name, 'start'))
    return '\n'.join(out) + '\n</svg>\n'
