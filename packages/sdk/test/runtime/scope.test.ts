import { describe, expect, it } from 'vitest'
import { OffloadError } from '../../src/index.ts'
import { Scope, type Token, token } from '../../src/runtime/index.ts'

const NAME: Token<string> = token('test.name')
const PORT: Token<number> = token('test.port')
const SERVER: Token<Server> = token('test.server')
const A: Token<object> = token('test.a')
const B: Token<object> = token('test.b')
const C: Token<object> = token('test.c')

class Server {
  readonly name: string
  readonly port: number
  constructor(name: string, port: number) {
    this.name = name
    this.port = port
  }
}

describe('Scope', () => {
  it('constructs a class from tokens in the order of its parameters, once', async () => {
    await using scope = Scope.root().value(NAME, 'x').value(PORT, 1).bind(SERVER, Server, [NAME, PORT])
    expect(scope.get(SERVER)).toEqual({ name: 'x', port: 1 })
    expect(scope.get(SERVER)).toBe(scope.get(SERVER))
  })

  it('refuses tokens of the wrong type, order or number at compile time', async () => {
    await using scope = Scope.root()
    // @ts-expect-error wrong order
    scope.bind(SERVER, Server, [PORT, NAME])
    // @ts-expect-error one is missing
    scope.child().bind(SERVER, Server, [NAME])
    // @ts-expect-error a number is not a string
    scope.value(NAME, 1)
    // @ts-expect-error a factory has to make what the token says
    scope.factory(PORT, () => 'one')
  })

  it('treats tokens of the same name as the same, so that two copies of the package agree', async () => {
    await using scope = Scope.root().value(token<string>('same'), 'value')
    expect(scope.get(token<string>('same'))).toBe('value')
  })

  it('caches an undefined instance too', async () => {
    let calls = 0
    await using scope = Scope.root().factory(token<undefined>('test.nothing'), () => {
      calls++
      return undefined
    })
    scope.get(token<undefined>('test.nothing'))
    scope.get(token<undefined>('test.nothing'))
    expect(calls).toBe(1)
  })

  it('makes what a parent provides in the parent, never with what a child provides', async () => {
    await using root = Scope.root()
      .value(NAME, 'root')
      .factory(A, (scope) => ({ name: scope.get(NAME) }))
    await using child = root.child().value(NAME, 'child')
    expect(child.get(NAME)).toBe('child')
    expect(child.get(A)).toEqual({ name: 'root' })
    expect(root.get(A)).toBe(child.get(A))
  })

  it('keeps what the parent owns when a child is disposed, and gives up what the child owns', async () => {
    const gone: string[] = []
    await using root = Scope.root().factory(A, () => ({ [Symbol.dispose]: () => void gone.push('root') }))
    const child = root.child().factory(B, () => ({ [Symbol.asyncDispose]: async () => void gone.push('child') }))
    child.get(A)
    child.get(B)
    await child[Symbol.asyncDispose]()
    expect(gone).toEqual(['child'])
    expect(() => child.get(B)).toThrow('cannot get "test.b": the scope is disposed')
  })

  it('disposes children first, then in reverse order of creation, only what was made', async () => {
    const gone: string[] = []
    const part = (name: string): object => ({ [Symbol.dispose]: () => void gone.push(name) })
    const root = Scope.root()
      .factory(A, () => part('a'))
      .factory(B, (scope) => (scope.get(A), part('b')), { dispose: () => void gone.push('b by option') })
      .factory(C, () => part('never made'))
      .value(SERVER, Object.assign(new Server('v', 1), part('value')))
    const first = root.child().factory(NAME, () => 'n', { dispose: (name) => void gone.push(`first ${name}`) })
    const second = root.child().factory(NAME, () => 'm', { dispose: (name) => void gone.push(`second ${name}`) })
    first.get(NAME)
    second.get(NAME)
    root.get(B)
    root.get(SERVER)
    await root[Symbol.asyncDispose]()
    expect(gone).toEqual(['second m', 'first n', 'b by option', 'a'])
    await root[Symbol.asyncDispose]()
    expect(gone).toHaveLength(4)
    expect(() => root.child()).toThrow('cannot make a child scope: the scope is disposed')
    expect(() => root.value(PORT, 1)).toThrow('cannot provide "test.port": the scope is disposed')
  })

  it('gives a second disposer the same promise, so that nobody returns before everything is given up', async () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const root = Scope.root()
    const child = root.child().factory(A, () => ({}), { dispose: () => promise })
    child.get(A)
    const order: string[] = []
    const childDone = child[Symbol.asyncDispose]().then(() => order.push('child'))
    const rootDone = root[Symbol.asyncDispose]().then(() => order.push('root'))
    resolve()
    await Promise.all([childDone, rootDone])
    expect(order).toEqual(['child', 'root'])
  })

  it('tries every disposer and throws the failures together', async () => {
    const gone: string[] = []
    const root = Scope.root()
      .factory(A, () => ({}), { dispose: () => void gone.push('a') })
      .factory(B, () => ({}), {
        dispose: () => {
          throw new Error('b fails')
        },
      })
    root.get(A)
    root.get(B)
    await expect(root[Symbol.asyncDispose]()).rejects.toThrow('b fails')
    expect(gone).toEqual(['a'])
  })

  it('names the tokens of a cycle, and works again afterwards', async () => {
    await using root = Scope.root()
      .factory(A, (scope) => ({ b: scope.get(B) }))
      .factory(B, (scope) => ({ c: scope.get(C) }))
    await using child = root.child()
    root.factory(C, () => ({ a: child.get(A) }))
    expect(() => child.get(A)).toThrow('dependency cycle: "test.a" needs "test.b" needs "test.c" needs "test.a"')
    root.value(NAME, 'still works')
    expect(child.get(NAME)).toBe('still works')
  })

  it('lets a child wrap what its parent provides under the same token', async () => {
    await using root = Scope.root().factory(A, () => ({ inner: true }))
    await using child = root.child().factory(A, () => ({ outer: root.get(A) }))
    expect(child.get(A)).toEqual({ outer: { inner: true } })
  })

  it('says what is missing and who needs it', async () => {
    await using root = Scope.root().value(NAME, 'x').bind(SERVER, Server, [NAME, PORT])
    expect(() => root.get(PORT)).toThrow('nothing provides "test.port"')
    expect(() => root.get(SERVER)).toThrow('nothing provides "test.port", which "test.server" needs')
    try {
      root.get(PORT)
    } catch (error) {
      expect(OffloadError.is(error) && error.code).toBe('INTERNAL')
    }
  })

  it('retries a factory that threw', async () => {
    let calls = 0
    await using root = Scope.root().factory(PORT, () => {
      if (++calls === 1) throw new Error('first time')
      return calls
    })
    expect(() => root.get(PORT)).toThrow('first time')
    expect(root.get(PORT)).toBe(2)
  })

  it('refuses to provide a token twice', async () => {
    await using root = Scope.root().value(NAME, 'x')
    expect(() => root.value(NAME, 'y')).toThrow('"test.name" is provided already in this scope')
  })

  it('keeps roots apart', async () => {
    await using one = Scope.root().value(NAME, 'one')
    await using two = Scope.root()
    expect(one.get(NAME)).toBe('one')
    expect(() => two.get(NAME)).toThrow('nothing provides')
  })
})
