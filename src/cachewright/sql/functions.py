"""Names of SQL functions: which answer differently each time, which come with the database."""

from __future__ import annotations

VOLATILE_KINDS = frozenset({
    "CurrentCatalog", "CurrentDatabase", "CurrentDate", "CurrentDatetime", "CurrentRole",
    "CurrentSchema", "CurrentTime", "CurrentTimestamp", "CurrentTimestampLTZ", "CurrentUser",
    "Localtime", "Localtimestamp", "NextValueFor", "Rand", "Randn", "SessionUser", "Systimestamp",
    "UtcDate", "UtcTime", "UtcTimestamp", "Uuid",
})  # fmt: skip
"""Expression classes of the parser whose value depends on the moment, the session or chance."""

VOLATILE = frozenset({
    "changes", "clock_timestamp", "connection_id", "current_database", "current_query", "current_role",
    "current_schema", "current_setting", "current_user", "currval", "found_rows", "gen_random_bytes",
    "gen_random_uuid", "get_lock", "getdate", "getutcdate", "inet_client_addr", "is_free_lock",
    "last_insert_id", "last_insert_rowid", "lastval", "localtime", "localtimestamp", "newid", "nextval",
    "now", "pg_backend_pid", "pg_sleep", "random", "random_bytes", "random_normal", "randomblob",
    "release_lock", "row_count", "session_user", "setseed", "setval", "sleep",
    "statement_timestamp", "sysdate", "sysdatetime", "system_user", "timeofday", "total_changes",
    "transaction_timestamp", "txid_current", "user", "utc_date", "utc_time", "utc_timestamp", "uuid",
    "uuid_generate_v1", "uuid_generate_v4", "uuid_short", "uuidv4", "uuidv7",
})  # fmt: skip

MOMENT_WITHOUT_ARGUMENTS = frozenset({
    "curdate", "curtime", "date", "datetime", "julianday", "time", "timestamp", "unix_timestamp",
    "unixepoch", "unixseconds", "unixtotime",
})  # fmt: skip
"""Functions that give the present if they are not given a moment."""

RELATIVE_MOMENTS = frozenset(
    {
        "now",
        "today",
        "tomorrow",
        "yesterday",
    }
)
"""Texts that PostgreSQL and SQLite read as a moment that moves."""

_KNOWN = """
abs age all any array_agg array_append array_cat array_dims array_length array_lower array_ndims array_position
array_positions array_prepend array_remove array_replace array_to_json array_to_string array_upper ascii avg
bin bit_and bit_count bit_length bit_or bit_xor bm25 bool_and bool_or btrim cardinality ceil ceiling char
char_length character_length charindex choose chr coalesce col_description concat concat_ws conv convert
convert_tz cos count crc32 cume_dist date_add date_bin date_format date_part date_sub date_trunc dateadd
datediff datename datepart datetime dayname dayofmonth dayofweek dayofyear decode degrees dense_rank
difference div elt encode every exp export_set extract field find_in_set first_value floor format
format_type from_base64 from_days from_unixtime generate_series generate_subscripts get_bit get_byte
get_format glob greatest group_concat grouping hex highlight host hstore if ifnull iif inet6_aton inet6_ntoa
inet_aton inet_ntoa initcap insert instr interval isfinite isnull iszero json julianday justify_days
justify_hours justify_interval lag last_day last_value lcase lead least left length levenshtein like
likelihood likely ln locate log log10 log2 lower lpad ltrim make_date make_interval make_set
make_time make_timestamp make_timestamptz makedate maketime masklen max md5 mid min minute mod month
monthname network nth_value ntile nullif num_nonnulls num_nulls numnode obj_description oct octet_length ord
overlay parse_ident percent_rank percentile_cont percentile_disc period_add period_diff phraseto_tsquery pi
plainto_tsquery position pow power printf quarter query querytree quote quote_ident quote_literal
quote_nullable radians range_agg range_merge rank regexp_count regexp_instr regexp_like regexp_match
regexp_matches regexp_replace regexp_split_to_array regexp_split_to_table regexp_substr repeat replace
reverse right round row row_number row_to_json rpad rtrim scale sec_to_time second setweight sha1 sha2
sha224 sha256 sha384 sha512 sign similarity sin snippet some soundex space split_part sqlite_version sqrt
starts_with stddev stddev_pop stddev_samp str_to_date strcmp strftime strict_word_similarity string_agg
string_to_array strip strpos subdate substr substring substring_index subtime sum tan time_format
time_to_sec timediff timestampadd timestampdiff timezone to_ascii to_base64 to_char to_date to_days to_hex
to_json to_jsonb to_number to_seconds to_timestamp to_tsquery to_tsvector total translate trim trunc
truncate ts_headline ts_rank ts_rank_cd tsvector_to_array typeof ucase unaccent unhex unicode
unistr unixepoch unlikely unnest upper upper_inf values var_pop var_samp variance version
websearch_to_tsquery week weekday weekofyear width_bucket word_similarity xmlagg xmlelement xmlforest year
yearweek zeroblob
"""

_JSON = """
agg array array_agg array_append array_elements array_elements_text array_insert array_length arrayagg build_array
build_object concat contains contains_path depth each each_text error_position exists extract extract_path
extract_path_text extract_scalar group_array group_object insert insert_lax keys length memberof merge
merge_patch merge_preserve object object_agg object_agg_strict object_agg_unique object_agg_unique_strict
object_field object_field_text object_keys objectagg overlaps patch path_exists path_exists_tz path_match
path_match_tz path_query path_query_array path_query_array_tz path_query_first path_query_first_tz
path_query_tz populate_record populate_recordset pretty query quote remove replace scalar schema_valid search
serialize set set_lax storage_free storage_size strip_nulls table to_record to_recordset tree type typeof
unquote valid value
"""

_GEOMETRY = """
area asbinary asewkb asewkt asgeojson asgml askml asmvt asmvtgeom astext aswkb aswkt azimuth boundary buffer
centroid closestpoint clusterdbscan clusterkmeans collect contains containsproperly convexhull coveredby covers
crosses difference dimension disjoint distance distance_sphere distancesphere distancespheroid dump dumppoints
dwithin endpoint envelope equals expand extent exteriorring flipcoordinates force2d force3d geogfromtext
geohash geometryfromtext geometryn geometrytype geomfromewkb geomfromewkt geomfromgeojson geomfromtext
geomfromwkb hausdorffdistance interiorringn intersection intersects isclosed isempty isring issimple isvalid
latitude length lineinterpolatepoint linelocatepoint linemerge linesubstring longitude longestline m makebox2d
makeenvelope makeline makepoint makepolygon makevalid maxdistance multi npoints numgeometries
numinteriorrings numpoints overlaps perimeter point pointfromgeohash pointfromtext pointn pointonsurface
polygon project reverse scale segmentize setsrid shortestline simplify simplifypreservetopology snaptogrid srid
startpoint subdivide swapxy symdifference tileenvelope touches transform translate union unaryunion
voronoipolygons within x y z
"""

KNOWN = frozenset({
    *_KNOWN.split(),
    *(f"{prefix}_{name}" for prefix in ("json", "jsonb") for name in _JSON.split()),
    *(f"st_{name}" for name in _GEOMETRY.split()),
    *(f"has_{name}_privilege" for name in ("any_column", "column", "schema", "sequence", "table")),
    "json", "jsonb", "pg_typeof", "set_config",
})  # fmt: skip
"""Names that come with SQLite, PostgreSQL, MySQL or usual extensions, and read no table.

Names and no prefixes: `json_orders(7)` may well be the application's own.
"""

SYNTAX = frozenset({
    "And", "Array", "ArrayContainedBy", "ArrayContainsAll", "ArrayOverlaps", "BitwiseAndAgg",
    "BitwiseCount", "BitwiseOrAgg", "BitwiseXorAgg", "Case", "Cast", "Collate", "ConvertTimezone",
    "CurrentVersion", "DecodeCase", "Exists", "Explode", "ExplodingGenerateSeries", "JSONArray",
    "JSONArrayAgg", "JSONArrayContains", "JSONBContains", "JSONBContainsAllTopKeys",
    "JSONBContainsAnyTopKeys", "JSONBContainsTopKey", "JSONBDeleteAtPath", "JSONBObjectAgg",
    "JSONBPathExists", "JSONCast", "JSONObject", "JSONObjectAgg", "JSONTable", "MatchAgainst",
    "NumberToStr", "Or", "Pad", "RegexpILike", "SHA2Digest", "StrPosition", "StrToTime", "Struct",
    "TimeFromParts", "TimeToStr", "TimestampAdd", "TimestampFromParts", "TimestampTrunc", "TryCast",
    "TsOrDsToDate", "TsOrDsToTimestamp", "UnixToTime", "Unnest", "Xor",
})  # fmt: skip
"""Expression classes of the parser that stand for an operator, or for a known function by another name."""


def is_known(name: str) -> bool:
    """Whether a function comes with SQLite, PostgreSQL, MySQL or usual extensions, and reads no table."""
    return name in KNOWN or name in VOLATILE or name in MOMENT_WITHOUT_ARGUMENTS
