import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readAgentFile } from '../../src/octeon/agent/agent-file.ts'
import { ConfigSyntaxError, type ConfigValue, parseLibconfig } from '../../src/octeon/agent/libconfig.ts'

describe('a configuration in the grammar of libconfig', () => {
  it('has groups, lists, arrays, numbers, texts, comments, and separators that may be missing', () => {
    const text = `
      version = "1" ".0"; # one text
      a : { b = [1, -2, 0x1F, 3L], c = (1, "two", { d = true }, ()) } // no separator
      e = -0x10; f = 1.5e1; g = FALSE, h = [1, 2, ]; i = "a \\"b\\""; /* the
      end */`
    expect(parseLibconfig(text)).toEqual({
      version: '1.0',
      a: { b: [1, -2, 31, 3], c: [1, 'two', { d: true }, []] },
      e: -16,
      f: 15,
      g: false,
      h: [1, 2],
      i: 'a "b"',
    })
  })

  it.each([
    ['a = ;', 1],
    ['a = 1\nb = {', 2],
    ['\n\na 1;', 3],
    ['a = [ (1) ];', 1],
    ['a = 1; b = 2; a = 3;', 1],
    ['a = 1;\n%', 2],
    ['a = word;', 1],
  ])('is refused with its line: %j', (text, line) => {
    expect(() => parseLibconfig(text)).toThrow(expect.objectContaining({ name: ConfigSyntaxError.name, line }))
  })

  it('is read as it was written', () => {
    const scalar = fc.oneof(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), fc.boolean(), fc.stringMatching(/^[ -!#-[\]-~]{0,9}$/))
    const { value } = fc.letrec<{ value: ConfigValue; group: ConfigValue }>((tie) => ({
      value: fc.oneof({ depthSize: 'small' }, scalar, fc.array(tie('value'), { maxLength: 4 }), tie('group')),
      group: fc.dictionary(
        fc.stringMatching(/^[a-z][a-z_0-9]{0,5}$/).filter((name) => name !== 'true' && name !== 'false'),
        tie('value'),
        {
          maxKeys: 4,
          noNullPrototype: true,
        },
      ),
    }))
    const written = (item: ConfigValue): string => {
      if (Array.isArray(item)) return `(${item.map(written).join(', ')})`
      if (typeof item !== 'object') return JSON.stringify(item)
      return `{ ${Object.entries(item)
        .map(([name, inner]) => `${name} = ${written(inner)};`)
        .join('\n')} }`
    }
    fc.assert(
      fc.property(value, (item) => {
        expect(parseLibconfig(`x = ${written(item)};`)).toEqual({ x: item })
      }),
    )
  })
})

describe('what the agent takes from its configuration', () => {
  it('needs the card, but no link', () => {
    expect(readAgentFile(parseLibconfig('other = 1;'))).toBeUndefined()
    expect(readAgentFile(parseLibconfig('soc = {};'))).toEqual({ notes: [], config: undefined })
  })

  it('fills short addresses with zeros, and keeps 8 and 16 bits', () => {
    const text = 'soc = { pems = ({ idx = 0; pfs = ({ idx = 0; mac_addr = [0, 0, 0, 1, 0x101]; hb_interval = 0x10001; vfs = (); }); }); };'
    expect(readAgentFile(parseLibconfig(text))?.config).toEqual({
      pf: { mac: '00:00:00:01:01:00' },
      vfs: [],
      heartbeatMs: 1,
      missCount: 20,
    })
  })
})
