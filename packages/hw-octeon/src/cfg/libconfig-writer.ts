import { type ConfigGroup, type ConfigScalar, type ConfigSetting, type ConfigValue, SETTING_NAME } from './libconfig-value.ts'

const INDENT = '  '

/**
 * Writes a file in the format of libconfig, which {@link parseLibconfig} reads back as it was: arrays in one line, groups and lists one
 * setting or item per line, no separator after a list's last item, as older readers want it.
 *
 * @param comment - lines in front of it all
 * @throws RangeError for a name that is none, or a number that has no spelling: a programming mistake
 */
export function formatLibconfig(group: ConfigGroup, comment: readonly string[] = []): string {
  const lines = [...comment.flatMap((line) => line.split('\n')).map((line) => `# ${line}`.trimEnd()), ...settingLines(group.settings, '')]
  return lines.map((line) => `${line}\n`).join('')
}

function settingLines(settings: readonly ConfigSetting[], indent: string): string[] {
  return settings.flatMap(({ name, value }) => {
    // `true` would be read as a value.
    if (!SETTING_NAME.test(name) || /^(true|false)$/i.test(name)) throw new RangeError(`${JSON.stringify(name)} is no name of a setting`)
    const [first = '', ...rest] = valueLines(value, indent)
    return appendTo([`${indent}${name} = ${first}`, ...rest], ';')
  })
}

/** The first line goes on where the value begins; the others are indented already. */
function valueLines(value: ConfigValue, indent: string): string[] {
  const inner = indent + INDENT
  switch (value.kind) {
    case 'group':
      return value.settings.length === 0 ? ['{ }'] : ['{', ...settingLines(value.settings, inner), `${indent}}`]
    case 'list': {
      if (value.items.length === 0) return ['( )']
      const last = value.items.length - 1
      const items = value.items.flatMap((item, index) => {
        const [first = '', ...rest] = valueLines(item, inner)
        return appendTo([inner + first, ...rest], index === last ? '' : ',')
      })
      return ['(', ...items, `${indent})`]
    }
    case 'array':
      return [`[${value.items.map(scalarText).join(', ')}]`]
    default:
      return [scalarText(value)]
  }
}

function appendTo(lines: readonly string[], end: string): string[] {
  return lines.map((line, index) => (index === lines.length - 1 ? line + end : line))
}

function scalarText(scalar: ConfigScalar): string {
  switch (scalar.kind) {
    case 'boolean':
      return String(scalar.value)
    case 'int':
      if (BigInt.asIntN(32, BigInt(scalar.value)) !== BigInt(scalar.value)) throw new RangeError(`${scalar.value} needs more than 32 bits`)
      return scalar.hex ? hexText(BigInt.asUintN(32, BigInt(scalar.value))) : String(scalar.value)
    case 'int64':
      if (BigInt.asIntN(64, scalar.value) !== scalar.value) throw new RangeError(`${scalar.value} needs more than 64 bits`)
      return `${scalar.hex ? hexText(BigInt.asUintN(64, scalar.value)) : scalar.value}L`
    case 'float':
      return floatText(scalar.value)
    case 'string':
      return stringText(scalar.value)
  }
}

/** Bytes with both digits, as MAC addresses are written. */
const hexText = (value: bigint): string => `0x${value.toString(16).padStart(2, '0')}`

function floatText(value: number): string {
  if (!Number.isFinite(value)) throw new RangeError(`${value} cannot be written`)
  const text = Object.is(value, -0) ? '-0' : String(value)
  return /[.e]/.test(text) ? text : `${text}.0`
}

const ESCAPED: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t', '\f': '\\f', '\\': '\\\\', '"': '\\"' }

function stringText(text: string): string {
  // A NUL would end the string for libconfig, which is written in C.
  if (text.includes('\0')) throw new RangeError(`${JSON.stringify(text)} has a NUL character`)
  return `"${text.replaceAll(/[\n\r\t\f\\"]/g, (letter) => ESCAPED[letter] ?? letter)}"`
}
