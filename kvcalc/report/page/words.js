"use strict";
// Numbers for people, digit for digit as kvcalc's tables write them: GiB is 2^30 bytes, G of FLOPs 10^9.

const BINARY = [[1n << 50n, "PiB"], [1n << 40n, "TiB"], [1n << 30n, "GiB"], [1n << 20n, "MiB"], [1n << 10n, "KiB"]];
const DECIMAL = [[10n ** 18n, "E"], [10n ** 15n, "P"], [10n ** 12n, "T"], [10n ** 9n, "G"], [10n ** 6n, "M"], [1000n, "k"]];
const NOT_APPLICABLE = "-";

function count(value) {
  return value.toString().replace(/\B(?=(\d{3})+(?!\d))/g, ",");
}

function scaled(value, units, smallest) {
  for (const [size, name] of units) {
    const share = typeof value === "bigint" ? ratioOf(value, size) : value / Number(size);
    if (Number(fourDigits(share, true)) >= 1) return `${fourDigits(share)} ${name}`;
  }
  const told = typeof value === "bigint" ? count(value) : fourDigits(value);
  return `${told} ${smallest}`.trim();
}

// Four significant digits, and never fewer than the whole part has. A tie goes to the even digit, as in Python.
function fourDigits(value, plain = false) {
  if (value === 0) return "0.000";
  const [digits, exponent] = significant(value, 4);
  const rounded = Number(`${digits}e${exponent - 3}`);
  if (rounded >= 1000) return plain ? String(rounded) : count(BigInt(whole(value)));
  if (exponent < -4) {
    const power = String(-exponent).padStart(2, "0");
    return `${digits[0]}.${digits.slice(1)}e-${power}`;
  }
  if (exponent < 0) return `0.${"0".repeat(-exponent - 1)}${digits}`;
  return `${digits.slice(0, exponent + 1)}.${digits.slice(exponent + 1)}`;
}

function whole(value) {
  const below = Math.floor(value);
  const rest = value - below;
  const up = rest > 0.5 || (rest === 0.5 && below % 2 === 1);
  return up ? below + 1 : below;
}

// The first digits of a double, rounded from its exact decimal expansion, and the power of ten of the first one.
function significant(value, wanted) {
  const [mantissa, power] = value.toExponential(60).split("e");
  const all = mantissa.replace(".", "");
  const rest = all.slice(wanted);
  let kept = BigInt(all.slice(0, wanted));
  const tie = "5".padEnd(rest.length, "0");
  if (rest > tie || (rest === tie && kept % 2n === 1n)) kept += 1n;
  const digits = kept.toString();
  const grown = digits.length > wanted;
  return [grown ? digits.slice(0, wanted) : digits, Number(power) + (grown ? 1 : 0)];
}

function duration(seconds) {
  for (const [size, unit] of [[1, "s"], [1e-3, "ms"], [1e-6, "us"]]) {
    if (seconds >= size) return `${fourDigits(seconds / size)} ${unit}`;
  }
  return seconds ? `${fourDigits(seconds / 1e-9)} ns` : "0 s";
}

// A number inside a formula: a negative one in parentheses, six digits of what is no whole number.
function inFormula(value) {
  const text = typeof value === "bigint" ? count(value < 0n ? -value : value) : sixDigits(Math.abs(value));
  return value < 0 ? `(-${text})` : text;
}

function sixDigits(value) {
  if (Number.isInteger(value) && value < 2 ** 53) return count(BigInt(value));
  const [digits, exponent] = significant(value, 6);
  const kept = digits.replace(/0+$/, "");
  if (exponent < -4 || exponent >= 6) {
    const sign = exponent < 0 ? "-" : "+";
    return `${kept[0]}${kept.length > 1 ? "." : ""}${kept.slice(1)}e${sign}${String(Math.abs(exponent)).padStart(2, "0")}`;
  }
  if (exponent < 0) return `0.${"0".repeat(-exponent - 1)}${kept}`;
  const rest = kept.slice(exponent + 1);
  return `${count(BigInt(digits.slice(0, exponent + 1)))}${rest ? "." : ""}${rest}`;
}

const WRITE = {
  count,
  bytes: (value) => scaled(value, BINARY, "B"),
  decimal: (value) => scaled(value, DECIMAL, ""),
  flops: (value) => (value >= 1000n ? `${scaled(value, DECIMAL, "")}FLOPs` : `${count(value)} FLOPs`),
  duration,
  word: (value) => value,
  ratio: (value) => `${fourDigits(value)}x`,
};

function written(value, as) {
  return value === null || value === undefined ? NOT_APPLICABLE : WRITE[as](value);
}

// Every digit there is.
function exactly(value) {
  if (value === null || value === undefined) return NOT_APPLICABLE;
  return typeof value === "bigint" ? count(value) : String(value);
}

// '32768', '32k', '1m' (powers of 1024), with commas or without; null where it is no such number.
function parseSize(text) {
  const match = /^([0-9][0-9_,]{0,15})([km]?)$/.exec(text.trim().toLowerCase());
  if (!match) return null;
  return BigInt(match[1].replace(/[_,]/g, "")) * { "": 1n, k: 1024n, m: 1024n ** 2n }[match[2]];
}
