import { describe, expect, test } from 'vitest'
import { Assembler, networkOrder16 } from '../../src/bpf/index.ts'

/** Instructions as hexadecimal digits, one each. */
const code = (assembler: Assembler): string[] => Buffer.from(assembler.assemble().instructions).toString('hex').match(/.{16}/g) ?? []

describe('assembler', () => {
  test('writes each instruction as the kernel has defined it', () => {
    const end = Symbol('end')
    const assembler = new Assembler()
      .compute('mov', 6, { register: 1 })
      .compute('add', 2, -4)
      .constant(1, 0xffff_fffe)
      .load(4, 1, 6, 20)
      .store(8, 10, -8, 1)
      .storeConstant(2, 10, -16, 7)
      .jumpIf(1, '!=', 5, end)
      .jumpIf(1, 'signed<', { register: 2 }, end)
      .jumpIf(3, '>', 0, end)
      .compareAndExchange(7, 2)
      .call(26)
      .place(end)
      .exit()
    expect(code(assembler)).toEqual([
      'bf16000000000000',
      '07020000fcffffff',
      'b4010000feffffff',
      '6161140000000000',
      '7b1af8ff00000000',
      '6a0af0ff07000000',
      '5501040005000000',
      'cd21030000000000',
      '2503020000000000',
      'db270000f1000000',
      '850000001a000000',
      '9500000000000000',
    ])
  })

  test('names a map by its place, and counts the two instructions that this takes', () => {
    const end = Symbol('end')
    const assembler = new Assembler().jumpIf(1, '==', 0, end).map(1, { bytes: 8 }).map(2, { bytes: 16 }).place(end).exit()
    expect(code(assembler)).toEqual([
      '1501040000000000',
      '1811000000000000',
      '0000000000000000',
      '1812000001000000',
      '0000000000000000',
      '9500000000000000',
    ])
    expect(assembler.assemble().maps).toEqual([{ bytes: 8 }, { bytes: 16 }])
  })

  test('leaves out what nothing leads to, and jumps to the same places', () => {
    const [end, never] = [Symbol('end'), Symbol('never')]
    const assembler = new Assembler()
      .jumpIf(1, '==', 0, end)
      .jump(end)
      .compute('mov', 0, 7)
      .jump(never)
      .place(never)
      .compute('mov', 0, 8)
      .place(end)
      .compute('mov', 0, 9)
      .exit()
      .exit()
    expect(code(assembler)).toEqual(['1501010000000000', '0500000000000000', 'b700000009000000', '9500000000000000'])
  })

  test.each([
    ['backwards', (assembler: Assembler, to: symbol) => assembler.place(to).jump(to)],
    ['to nowhere', (assembler: Assembler, to: symbol) => assembler.jump(to)],
  ])('does not jump %s', (_what, write) => {
    const assembler = new Assembler()
    expect(() => write(assembler, assembler.label('there')).exit().assemble()).toThrow(/no way from \d to there/)
  })

  test('numbers of the network', () => {
    expect([networkOrder16(0x8100), networkOrder16(0x88a8), networkOrder16(1)]).toEqual([0x0081, 0xa888, 0x0100])
  })
})
