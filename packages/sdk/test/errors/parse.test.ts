import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { parseWith } from '../../src/index.ts'
import { thrown } from '../thrown.ts'

const schema = z.object({ port: z.number().int(), peer: z.object({ name: z.string() }) })

describe('parseWith', () => {
  it('gives back what the schema makes of the input', () => {
    expect(parseWith(schema, { port: 1, peer: { name: 'x' }, more: 1 }, 'file', 'INVALID_CONFIG')).toEqual({ port: 1, peer: { name: 'x' } })
  })

  it('names each field, its value, and what is missing', () => {
    const error = thrown(() => parseWith(schema, { port: 'eighty', peer: {} }, 'host.yaml', 'INVALID_CONFIG'))
    expect(error.code).toBe('INVALID_CONFIG')
    expect(error.message).toMatch(/^host\.yaml: port = "eighty": .+; peer\.name is missing: /)
  })

  it('shortens what is long, and shows what cannot be printed', () => {
    const message = (value: unknown): string =>
      thrown(() => parseWith(z.object({ x: z.string() }), { x: value }, 'w', 'UNDECODABLE')).message
    expect(message(Array(1000).fill(1)).length).toBeLessThan(250)
    const deep = JSON.parse(`${'['.repeat(50_000)}${']'.repeat(50_000)}`) as unknown
    expect(message(deep)).toContain('x = (a value that cannot be shown)')
    expect(message(5n)).toContain('x = 5')
    expect(thrown(() => parseWith(schema, 'text', 'w', 'UNDECODABLE')).message).toContain('the whole = "text"')
  })
})
