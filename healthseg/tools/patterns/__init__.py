"""analyze_engagement_patterns: what holds, how strong, how sure; what precedes leaving and staying."""
