import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseCniArgs } from '../../src/cni/index.ts'

describe('parseCniArgs', () => {
  it.each([
    ['', {}],
    [
      'IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;K8S_POD_UID=',
      { IgnoreUnknown: '1', K8S_POD_NAMESPACE: 'default', K8S_POD_NAME: 'web-0', K8S_POD_UID: '' },
    ],
    ['A=b=c', { A: 'b=c' }],
    [';A=1;;B=2;', { A: '1', B: '2' }],
    ['lonely;=nameless;A=1', { A: '1' }],
    ['A=1;A=2', { A: '2' }],
    ['a=1;A=2', { a: '1', A: '2' }],
  ])('%j', (text, expected) => {
    expect(parseCniArgs(text)).toEqual(expected)
  })

  it('keeps keys that objects have already', () => {
    const args = parseCniArgs('__proto__=x;constructor=y')
    expect(Object.entries(args)).toEqual([
      ['__proto__', 'x'],
      ['constructor', 'y'],
    ])
  })

  it('gives back what was joined, and never throws', () => {
    const key = fc.string({ minLength: 1 }).filter((text) => !/[;=]/.test(text))
    const value = fc.string().filter((text) => !text.includes(';'))
    fc.assert(
      fc.property(fc.dictionary(key, value, { noNullPrototype: true }), (args) => {
        const text = Object.entries(args)
          .map(([name, given]) => `${name}=${given}`)
          .join(';')
        expect(Object.entries(parseCniArgs(text)).toSorted()).toEqual(Object.entries(args).toSorted())
      }),
    )
    fc.assert(fc.property(fc.string(), (text) => void parseCniArgs(text)))
  })
})
