import { expect, it } from 'vitest'
import { reduceApi } from '../lib/reduce-api.ts'

const DOCUMENT = {
  paths: {
    '/pet/{id}': {
      put: {
        summary: 'prose',
        parameters: [{ $ref: '#/parameters/pet-id' }, { name: 'pet', in: 'body', required: true, schema: { $ref: '#/definitions/Pet' } }],
        responses: { 200: { description: 'prose', schema: { $ref: '#/definitions/Pet' } }, 404: { description: 'prose' } },
      },
      get: { responses: { 200: { schema: { $ref: '#/definitions/Unused' } } } },
    },
  },
  parameters: { 'pet-id': { name: 'id', in: 'path', required: true, type: 'string', description: 'prose' } },
  definitions: {
    Pet: {
      type: 'object',
      'x-go-name': 'Animal',
      properties: {
        description: { type: 'string', description: 'a member with the name of a keyword', default: 'none' },
        tags: { type: 'array', items: { $ref: '#/definitions/Tag' } },
        owner: { type: 'string', 'x-nullable': true },
        extras: { type: 'object', additionalProperties: { type: 'object' } },
      },
    },
    Tag: { type: 'string', enum: ['a'] },
    Unused: { type: 'string' },
  },
}

it('keeps the operations that are wanted with all that they refer to, without prose', () => {
  const pet = { $ref: '#/definitions/Pet' }
  expect(reduceApi(DOCUMENT, ['PUT /pet/{id}'])).toEqual({
    operations: {
      'PUT /pet/{id}': {
        parameters: [{ name: 'id', in: 'path', required: true, type: 'string' }],
        request: pet,
        requestName: 'pet',
        requestRequired: true,
        answers: { 200: pet, 404: null },
      },
    },
    definitions: {
      Pet: {
        type: 'object',
        properties: {
          description: { type: 'string' },
          tags: { type: 'array', items: { $ref: '#/definitions/Tag' } },
          owner: { anyOf: [{ type: 'string' }, { type: 'null' }] },
          extras: { type: 'object', additionalProperties: {} },
        },
      },
      Tag: { type: 'string', enum: ['a'] },
    },
  })
})

it('an operation that is not there is an error', () => {
  expect(() => reduceApi(DOCUMENT, ['DELETE /pet/{id}'])).toThrow('DELETE /pet/{id}')
})
