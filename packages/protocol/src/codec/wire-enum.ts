/** An enum of the wire by our names for its values. */
export interface WireEnum<Name extends string, Value extends number> {
  /** The value that stands for a name. `unknown` is sent as 0, which says nothing. */
  toWire(name: Name | 'unknown'): Value
  /** The name of a value; `unknown` for 0 and for a value that only a newer peer knows. */
  fromWire(value: number): Name | 'unknown'
}

/** @param values - each name's value, other than 0 */
export function wireEnum<Name extends string, Value extends number>(
  unspecified: Value,
  values: Readonly<Record<Name, Value>>,
): WireEnum<Name, Value> {
  const names = new Map<number, Name>((Object.entries(values) as [Name, Value][]).map(([name, value]) => [value, name]))
  return {
    toWire: (name) => (name === 'unknown' ? unspecified : values[name]),
    fromWire: (value) => names.get(value) ?? 'unknown',
  }
}
