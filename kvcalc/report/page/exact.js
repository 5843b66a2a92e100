"use strict";
// Whole numbers of any size, by the rules of kvcalc's formulas: / divides exactly or fails, // rounds down,
// % has the sign of the divisor. The functions of PROGRAMS call these by name.

const MAX_BITS = 1024n;

function floor(a, b) {
  if (b === 0n) throw new RangeError("division by zero");
  const quotient = a / b; // rounds to zero
  return quotient * b !== a && (a < 0n) !== (b < 0n) ? quotient - 1n : quotient;
}

function divide(a, b) {
  const quotient = floor(a, b);
  if (quotient * b !== a) throw new RangeError(`${a} is not divisible by ${b}`);
  return quotient;
}

function modulo(a, b) {
  return a - floor(a, b) * b;
}

function power(a, b) {
  if (b < 0n) throw new RangeError(`a negative power: ${a}**${b}`);
  if (b * bits(a) > MAX_BITS) throw new RangeError("the power is too large a number");
  return a ** b;
}

function min(a, b) {
  return b < a ? b : a;
}

function max(a, b) {
  return b > a ? b : a;
}

function ceil_div(a, b) {
  return -floor(-a, b);
}

function isqrt(a) {
  if (a < 0n) throw new RangeError(`the square root of ${a}`);
  if (a < 2n) return a;
  let root = 1n << ((bits(a) + 1n) / 2n); // Newton's steps, from above
  for (;;) {
    const next = (root + a / root) >> 1n;
    if (next >= root) return root;
    root = next;
  }
}

function bits(a) {
  return a === 0n ? 0n : BigInt((a < 0n ? -a : a).toString(2).length);
}

// The double nearest to a/b, as Python divides two integers; null where b is 0.
function ratioOf(a, b) {
  if (b === 0n) return null;
  const shift = 64n + bits(b) - bits(a) > 0n ? 64n + bits(b) - bits(a) : 0n;
  const above = a << shift;
  const quotient = above / b;
  const rounded = quotient * b === above ? quotient : quotient | 1n; // what is left over decides a tie
  return Number(rounded) / 2 ** Number(shift);
}
