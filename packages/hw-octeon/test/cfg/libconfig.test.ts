import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type ConfigGroup,
  type ConfigScalar,
  type ConfigValue,
  formatLibconfig,
  LibconfigSyntaxError,
  parseLibconfig,
} from '../../src/index.ts'

/** A value without its positions. */
const bare = (value: ConfigValue): unknown => {
  const { at: _, ...rest } = value
  if (value.kind === 'group')
    return { ...rest, settings: value.settings.map((setting) => ({ name: setting.name, value: bare(setting.value) })) }
  return 'items' in value ? { ...rest, items: value.items.map(bare) } : rest
}

const read = (text: string): Record<string, unknown> => {
  const plain = (value: ConfigValue): unknown => {
    switch (value.kind) {
      case 'group':
        return Object.fromEntries(value.settings.map((setting) => [setting.name, plain(setting.value)]))
      case 'list':
      case 'array':
        return value.items.map(plain)
      default:
        return value.value
    }
  }
  return plain(parseLibconfig(text)) as Record<string, unknown>
}

const refusal = (text: string): string => {
  try {
    parseLibconfig(text)
  } catch (error) {
    if (error instanceof LibconfigSyntaxError) return `${error.at.line}:${error.at.column} ${error.message}`
    throw error
  }
  return 'accepted'
}

describe('parseLibconfig', () => {
  it('takes comments of all kinds, both signs of equality and every terminator', () => {
    const text = '# one\na = 1; // two\n/* three\n four */ b : 2, c = 3 d=4\n/**/e=5'
    expect(read(text)).toEqual({ a: 1, b: 2, c: 3, d: 4, e: 5 })
  })

  it.each([
    ['0x1F', 31],
    ['0XfF', 255],
    ['0xffffffff', -1],
    ['-12', -12],
    ['+7', 7],
    ['2147483647', 2_147_483_647],
    ['2147483648', 2_147_483_648n],
    ['-2147483649', -2_147_483_649n],
    ['5L', 5n],
    ['5LL', 5n],
    ['0xffffffffffffffffL', -1n],
    ['1.5', 1.5],
    ['-.5e1', -5],
    ['1e3', 1000],
    ['TRUE', true],
    ['false', false],
    ['"a" " b"\n"c"', 'a bc'],
    [String.raw`"\x41\n\"\\\q"`, 'A\n"\\\\q'],
    ['"two\nlines # no comment"', 'two\nlines # no comment'],
  ])('reads %s', (text, value) => {
    expect(read(`v = ${text};`)).toEqual({ v: value })
  })

  it('takes groups, lists and arrays in each other, empty ones, and separators at the end', () => {
    expect(read('g = { h = { }; l = ( 1, { x = "y" }, (2, ), [3, 4,], [ ], ( ) , ); };')).toEqual({
      g: { h: {}, l: [1, { x: 'y' }, [2], [3, 4], [], []] },
    })
  })

  it('tells where every value begins', () => {
    const group = parseLibconfig('\n a = (\n\t{ b = 1; }\n);')
    const list = group.settings[0]?.value as Extract<ConfigValue, { kind: 'list' }>
    expect(group.settings[0]?.at).toEqual({ line: 2, column: 2 })
    expect(list.at).toEqual({ line: 2, column: 6 })
    expect(list.items[0]?.at).toEqual({ line: 3, column: 2 })
    expect((list.items[0] as ConfigGroup).settings[0]?.value.at).toEqual({ line: 3, column: 8 })
  })

  it.each([
    ['a = 1;\nb 2;', '2:3 "=" after "b" is expected, not "2"'],
    ['a = ;', '1:5 a value is expected, not ";"'],
    ['a = 1;;', '1:7 a setting is expected, not ";"'],
    ['a = { b = 1;', '1:13 a setting or "}" is expected, not the end of the file'],
    ['a = (1 2);', '1:8 "," or ")" is expected, not "2"'],
    ['a = (,1);', '1:6 "," or ")" is expected, not ","'],
    ['a = [1, "x"];', '1:9 an item of kind string in an array of kind int'],
    ['a = [{}];', '1:6 a number, a string, true or false is expected, not "{"'],
    ['a = 1;\n  a = 2;', '2:3 "a" is set a second time, first in line 1'],
    ['a = "x', '1:5 a string that does not end'],
    ['a = 1; /* x', '1:8 a comment that does not end'],
    ['a = 12ab;', '1:5 "12ab" is not a number'],
    ['a = 010;', '1:5 "010" has a leading zero, which libconfig takes for base 8'],
    ['a = 0x123456789;', '1:5 "0x123456789" needs more than 32 bits: append L'],
    ['a = 9223372036854775808;', '1:5 "9223372036854775808" needs more than 64 bits'],
    ['@include "other.cfg"', '1:1 @include is not supported: put the settings of that file here'],
    ['a = 1 % 2', '1:7 "%" means nothing here'],
    ['_a = 1', '1:1 "_" means nothing here'],
  ])('refuses %j', (text, message) => {
    expect(refusal(text)).toBe(message)
  })

  it('refuses values that are nested without an end, instead of running out of stack', () => {
    expect(refusal(`a = ${'('.repeat(100_000)}`)).toBe('1:105 values are nested more than 100 deep')
  })

  it('either reads a text or says where it is wrong, whatever it is', () => {
    const words = fc.constantFrom(
      'a',
      ' = ',
      ';',
      ',',
      '{',
      '}',
      '(',
      ')',
      '[',
      ']',
      '1',
      '-',
      '0x',
      '"',
      '\\',
      '/*',
      '*/',
      '//',
      '\n',
      '.',
      'L',
    )
    fc.assert(
      fc.property(
        fc.array(words).map((parts) => parts.join('')),
        (text) => refusal(text).length > 0,
      ),
    )
    fc.assert(fc.property(fc.string(), (text) => refusal(text).length > 0))
  })
})

const int = fc.record({ kind: fc.constant('int' as const), value: fc.integer(), hex: fc.boolean() })
const int64 = fc.record({
  kind: fc.constant('int64' as const),
  value: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  hex: fc.boolean(),
})
const float = fc.record({ kind: fc.constant('float' as const), value: fc.double({ noNaN: true, noDefaultInfinity: true }) })
const string = fc.record({
  kind: fc.constant('string' as const),
  value: fc.string({ unit: fc.oneof(fc.constantFrom('"', '\\', '\n', '\t', 'x41', '#', '/*'), fc.string({ minLength: 1, maxLength: 1 })) }),
})
const boolean = fc.record({ kind: fc.constant('boolean' as const), value: fc.boolean() })
const scalar: fc.Arbitrary<ConfigScalar> = fc.oneof(int, int64, float, string, boolean)
const array = fc.oneof(fc.array(int), fc.array(int64), fc.array(string)).map((items) => ({ kind: 'array' as const, items }))
const name = fc.stringMatching(/^[A-Za-z*][-A-Za-z0-9_*]{0,8}$/).filter((text) => !/^(true|false)$/i.test(text))
const { group } = fc.letrec<{ group: ConfigGroup; value: ConfigValue }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    scalar,
    array,
    fc.record({ kind: fc.constant('list' as const), items: fc.array(tie('value'), { maxLength: 4 }) }),
    tie('group'),
  ),
  group: fc.record({
    kind: fc.constant('group' as const),
    settings: fc.uniqueArray(fc.record({ name, value: tie('value') }), { selector: (setting) => setting.name, maxLength: 4 }),
  }),
}))

describe('formatLibconfig', () => {
  it('writes what is read back as it was', () => {
    fc.assert(
      fc.property(group, fc.array(fc.string()), (any, comment) => {
        expect(bare(parseLibconfig(formatLibconfig(any, comment)))).toEqual(bare(any))
      }),
    )
  })

  it('writes one setting per line and no separator after the last item', () => {
    const made: ConfigGroup = {
      kind: 'group',
      settings: [
        {
          name: 'l',
          value: {
            kind: 'list',
            items: [
              { kind: 'group', settings: [{ name: 'x', value: { kind: 'int', value: 1, hex: true } }] },
              { kind: 'array', items: [{ kind: 'int', value: -1, hex: false }] },
            ],
          },
        },
      ],
    }
    expect(formatLibconfig(made, ['made\nby a test', ''])).toBe('# made\n# by a test\n#\nl = (\n  {\n    x = 0x01;\n  },\n  [-1]\n);\n')
  })

  it.each<ConfigScalar>([
    { kind: 'int', value: 2 ** 31, hex: false },
    { kind: 'int64', value: 2n ** 63n, hex: true },
    { kind: 'float', value: Number.NaN },
    { kind: 'string', value: '\0' },
  ])('does not write what could not be read back: %o', (value) => {
    expect(() => formatLibconfig({ kind: 'group', settings: [{ name: 'v', value }] })).toThrow(RangeError)
  })

  it.each(['', '1a', 'a b', 'true', 'False'])('does not write the name %j', (wrong) => {
    const value: ConfigScalar = { kind: 'boolean', value: true }
    expect(() => formatLibconfig({ kind: 'group', settings: [{ name: wrong, value }] })).toThrow(RangeError)
  })
})
